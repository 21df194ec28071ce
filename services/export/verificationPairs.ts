import type { Encoding, ReadPairsResponse, Turn } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { parseDigest } from '@pairwise/fingerprint';
import { unpackPairs, type EncodedPair, type PreferencePair } from '@pairwise/preference';
import type { BlobStore } from '@pairwise/store';
import type { Peers } from './peers.ts';

/** GGUF files are verified with this many pairs at most, and with fewer once they have this many tokens. */
const mostPairs = 64;
const enoughTokens = 8192;

/** The first pairs of an encoding. */
export async function encodedPairs(blobs: BlobStore, { shardDigests }: Encoding): Promise<EncodedPair[]> {
  const pairs = unpackPairs(await blobs.get(parseDigest(shardDigests[0]!))).slice(0, mostPairs);
  let tokens = 0;
  return pairs.filter(({ prompt, chosen, rejected }) => {
    const isWanted = tokens < enoughTokens;
    tokens += 2 * prompt.length + chosen.length + rejected.length;
    return isWanted;
  });
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
