import type { Encoding, ReadPairsResponse, Turn } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { parseDigest } from '@pairwise/fingerprint';
import { unpackPairs, type EncodedPair, type PreferencePair } from '@pairwise/preference';
import type { BlobStore } from '@pairwise/store';
import type { Peers } from './peers.ts';
import type { VerificationSequence } from './verify.ts';

/** GGUF files are verified with this many pairs at most, and with fewer once they have this many tokens. */
const mostPairs = 64;
const enoughTokens = 8192;

/** What an artifact is verified with. */
export interface VerificationPairs {
  pairs: readonly EncodedPair[];
  /** The chosen and the rejected response of each pair in turn. */
  sequences: VerificationSequence[];
  /** What could not be compared, in words for a user; usually none. */
  caveats: string[];
}

/**
 * The first pairs of an encoding of which llama.cpp and the model read every token alike: those of at most `longest` tokens.
 * If there are none, the sequences are the first `longest` tokens of the longer ones, so that every artifact is verified.
 */
export async function verificationPairs(
  blobs: BlobStore,
  { shardDigests }: Encoding,
  longest: number,
): Promise<VerificationPairs> {
  const all = unpackPairs(await blobs.get(parseDigest(shardDigests[0]!)));
  const why = 'because llama.cpp does not implement the sliding window of this model';
  const fitting = firstOf(all.filter((pair) => lengthOf(pair) <= longest));
  if (fitting.length === 0) {
    const pairs = firstOf(all);
    const beginning = ({ prompt, response }: VerificationSequence) => {
      const ids = Int32Array.from([...prompt, ...response]).subarray(0, longest);
      return { prompt: ids.subarray(0, 1), response: ids.subarray(1) };
    };
    const caveats = [
      `all pairs have more than ${longest} tokens; only their first ${longest} tokens were compared, ${why}`,
    ];
    return { pairs, sequences: responsesOf(pairs).map(beginning), caveats };
  }
  const longer = all.slice(0, all.indexOf(fitting.at(-1)!)).filter((pair) => lengthOf(pair) > longest).length;
  const count = longer === 1 ? '1 pair' : `${longer} pairs`;
  const caveats = longer === 0 ? [] : [`the verification left out ${count} of more than ${longest} tokens, ${why}`];
  return { pairs: fitting, sequences: responsesOf(fitting), caveats };
}

function firstOf(pairs: readonly EncodedPair[]): EncodedPair[] {
  let tokens = 0;
  return pairs.slice(0, mostPairs).filter(({ prompt, chosen, rejected }) => {
    const isWanted = tokens < enoughTokens;
    tokens += 2 * prompt.length + chosen.length + rejected.length;
    return isWanted;
  });
}

function lengthOf({ prompt, chosen, rejected }: EncodedPair): number {
  return prompt.length + Math.max(chosen.length, rejected.length);
}

function responsesOf(pairs: readonly EncodedPair[]): VerificationSequence[] {
  return pairs.flatMap(({ prompt, chosen, rejected }) => [
    { prompt, response: chosen },
    { prompt, response: rejected },
  ]);
}

/** The texts of some pairs of an encoding. Undefined if its dataset was deleted since. */
export async function textsOf(
  peers: Peers,
  { name }: Encoding,
  pairs: readonly EncodedPair[],
  signal: AbortSignal,
): Promise<PreferencePair[] | undefined> {
  const wanted = new Set<string>(pairs.map(({ pairDigest }) => pairDigest));
  const found: PreferencePair[] = [];
  try {
    const version = name.split('/encodings/')[0]!;
    for await (const { pair } of peers.dataset.readPairs({ name: version, offset: 0, limit: 0 }, { signal })) {
      if (wanted.has(pair!.digest)) found.push(pairOf(pair!));
      if (found.length === wanted.size) break;
    }
    return found;
  } catch (error) {
    if (error instanceof PairwiseError && error.reason === 'NOT_FOUND') return undefined;
    throw error;
  }
}

function pairOf({ prompt, chosen, rejected }: NonNullable<ReadPairsResponse['pair']>): PreferencePair {
  return { prompt: turnOf(prompt!), chosen: turnOf(chosen!), rejected: turnOf(rejected!) };
}

function turnOf({ text, messages }: Turn): PreferencePair['prompt'] {
  return text ?? messages;
}
