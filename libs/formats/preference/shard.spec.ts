import { digestOf } from '@pairwise/fingerprint';
import { writeSafetensors } from '@pairwise/safetensors';
import { expect, test } from 'vitest';
import { unpackPairs, packPairs, type EncodedPair } from './index.ts';

const digest = (text: string) => digestOf(Buffer.from(text));
const pairs: EncodedPair[] = [1, 2, 3].map((n) => ({
  pairDigest: digest(`pair ${n}`),
  prompt: Int32Array.from({ length: n }, (_, index) => index + 1),
  chosen: Int32Array.of(10 * n, 2),
  rejected: Int32Array.of(20 * n, 7, 2),
  chosenDigest: digest(`chosen ${n}`),
  rejectedDigest: digest(`rejected ${n}`),
}));

test('a shard is read back unchanged, and the same pairs give the same bytes', () => {
  const bytes = packPairs(pairs);
  expect(unpackPairs(bytes)).toEqual(pairs);
  expect(packPairs(unpackPairs(bytes))).toEqual(bytes);
  expect(unpackPairs(packPairs([]))).toEqual([]);
});

test.each([
  ['no int32 tensor lengths', { lengths: undefined }],
  ['lengths that do not match', { lengths: Int32Array.of(1, 1, 1) }],
  ['lengths that do not match', { lengths: Int32Array.of(-1, 2, 1) }],
  ['the wrong number of chosen_digests', { chosen_digests: new Uint8Array(31) }],
])('a shard with %s is refused', (message, change) => {
  const tensors = {
    token_ids: Int32Array.of(1, 2),
    lengths: Int32Array.of(0, 1, 1),
    pair_digests: new Uint8Array(32),
    chosen_digests: new Uint8Array(32),
    rejected_digests: new Uint8Array(32),
    ...change,
  };
  const written = Object.entries(tensors).flatMap(([name, data]) => {
    if (data === undefined) return [];
    const dtype = data instanceof Int32Array ? ('I32' as const) : ('U8' as const);
    return [{ name, dtype, shape: [data.length], data }];
  });
  expect(() => unpackPairs(writeSafetensors(written))).toThrow(message);
});
