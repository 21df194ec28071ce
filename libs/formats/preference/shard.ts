import { PairwiseError } from '@pairwise/errors';
import { digestBytes, digestFromBytes, type Digest } from '@pairwise/fingerprint';
import { readSafetensors, writeSafetensors } from '@pairwise/safetensors';
import type { EncodedPair } from './encode.ts';

/** The most pairs in one shard of an encoding. */
export const shardPairs = 1024;

const digestLength = 32;

/**
 * Packs encoded pairs into a shard in safetensors format: `token_ids` I32 [tokens], pair after pair, each with its
 * prompt, its chosen and its rejected response; `lengths` I32 [pairs, 3], the lengths of these parts; and the digests
 * of pairs and responses, `pair_digests`, `chosen_digests` and `rejected_digests`, U8 [pairs, 32]. The same pairs give
 * the same bytes.
 */
export function packPairs(pairs: readonly EncodedPair[]): Uint8Array {
  const parts = pairs.flatMap(({ prompt, chosen, rejected }) => [prompt, chosen, rejected]);
  const lengths = Int32Array.from(parts, ({ length }) => length);
  const tokenIds = new Int32Array(lengths.reduce((sum, length) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    tokenIds.set(part, at);
    at += part.length;
  }
  const digests = (name: string, of: (pair: EncodedPair) => Digest) => {
    const data = new Uint8Array(pairs.length * digestLength);
    pairs.forEach((pair, index) => data.set(digestBytes(of(pair)), index * digestLength));
    return { name, dtype: 'U8' as const, shape: [pairs.length, digestLength], data };
  };
  return writeSafetensors([
    { name: 'token_ids', dtype: 'I32', shape: [tokenIds.length], data: tokenIds },
    { name: 'lengths', dtype: 'I32', shape: [pairs.length, 3], data: lengths },
    digests('pair_digests', (pair) => pair.pairDigest),
    digests('chosen_digests', (pair) => pair.chosenDigest),
    digests('rejected_digests', (pair) => pair.rejectedDigest),
  ]);
}

/** Returns the pairs in a shard. Throws INVALID_FILE for invalid bytes. */
export function unpackPairs(bytes: Uint8Array): EncodedPair[] {
  const tensors = readSafetensors(bytes, 'the shard');
  const integers = (name: string) => {
    const data = tensors.get(name)?.data;
    if (data instanceof Int32Array) return data;
    throw invalid(`has no int32 tensor ${name}`);
  };
  const tokenIds = integers('token_ids');
  const lengths = integers('lengths');
  const count = lengths.length / 3;
  const total = lengths.reduce((sum, length) => (length < 0 ? NaN : sum + length), 0);
  if (!Number.isInteger(count) || total !== tokenIds.length) throw invalid('has lengths that do not match its tokens');
  const digests = (name: string) => {
    const data = tensors.get(name)?.data;
    if (!(data instanceof Uint8Array) || data.length !== count * digestLength)
      throw invalid(`has the wrong number of ${name}; it needs ${count}`);
    return (index: number): Digest => digestFromBytes(data.subarray(index * digestLength, (index + 1) * digestLength));
  };
  const [pairDigest, chosenDigest, rejectedDigest] = ['pair_digests', 'chosen_digests', 'rejected_digests'].map(
    digests,
  );
  let at = 0;
  const next = (length: number) => tokenIds.subarray(at, (at += length));
  return Array.from({ length: count }, (_, index) => ({
    pairDigest: pairDigest!(index),
    prompt: next(lengths[3 * index]!),
    chosen: next(lengths[3 * index + 1]!),
    rejected: next(lengths[3 * index + 2]!),
    chosenDigest: chosenDigest!(index),
    rejectedDigest: rejectedDigest!(index),
  }));
}

function invalid(problem: string): PairwiseError {
  return new PairwiseError('INVALID_FILE', `the shard of encoded pairs ${problem}`);
}
