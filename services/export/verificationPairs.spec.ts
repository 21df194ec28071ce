import { join } from 'node:path';
import { Encoding, type ReadPairsResponse } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { packPairs, pairDigest, responseDigest, type EncodedPair, type PreferencePair } from '@pairwise/preference';
import { openFolder } from '@pairwise/store';
import { expect, test } from 'vitest';
import type { Peers } from './peers.ts';
import { freshFolder } from './testing.ts';
import { encodedPairs, textsOf } from './verificationPairs.ts';

const name = 'projects/p/datasets/d/versions/1/encodings/e';
const { signal } = new AbortController();
const texts = Array.from({ length: 100 }, (_, n): PreferencePair => ({
  prompt: `${n}?`,
  chosen: 'yes',
  rejected: 'no',
}));

function encoded(pair: PreferencePair, promptLength: number): EncodedPair {
  const [prompt, chosen, rejected] = [new Int32Array(promptLength), Int32Array.of(1), Int32Array.of(2)];
  const digests = { chosenDigest: responseDigest(prompt, chosen), rejectedDigest: responseDigest(prompt, rejected) };
  return { pairDigest: pairDigest(pair), prompt, chosen, rejected, ...digests };
}

async function stored(promptLength: number) {
  const blobs = await openFolder(join(freshFolder(), 'blobs'));
  const { digest } = await blobs.put(packPairs(texts.map((pair) => encoded(pair, promptLength))));
  return encodedPairs(blobs, Encoding.create({ name, shardDigests: [digest] }));
}

/** The dataset service, as far as it streams pairs. */
function streaming(stream: () => AsyncGenerator<ReadPairsResponse>): Peers {
  return { dataset: { readPairs: stream } } as unknown as Peers;
}

test('the first 64 pairs are verified with, and fewer long ones', async () => {
  expect((await stored(3)).map(({ pairDigest: digest }) => digest)).toEqual(texts.slice(0, 64).map(pairDigest));
  // Each pair has two sequences of 501 tokens.
  expect(await stored(500)).toHaveLength(9);
  expect(await stored(9000)).toHaveLength(1);
});

test('their texts are found, and the stream is not read further', async () => {
  let read = 0;
  const peers = streaming(async function* () {
    for (const [position, { prompt, chosen, rejected }] of texts.entries()) {
      read += 1;
      await Promise.resolve();
      const turn = (text: unknown) => ({ text: String(text), messages: [] });
      const pair = { prompt: turn(prompt), chosen: turn(chosen), rejected: turn(rejected) };
      yield { pair: { digest: pairDigest(texts[position]!), ...pair }, position };
    }
  });
  const pairs = (await stored(500)).filter((_, index) => index % 2 === 1);
  expect(await textsOf(peers, Encoding.create({ name }), pairs, signal)).toEqual([1, 3, 5, 7].map((n) => texts[n]));
  expect(read).toBe(8);
});

test('without their dataset there are no texts, which is not an error', async () => {
  // eslint-disable-next-line require-yield
  const deleted = streaming(async function* () {
    await Promise.resolve();
    throw new PairwiseError('NOT_FOUND', 'name: there is no such version', { field: 'name' });
  });
  expect(await textsOf(deleted, Encoding.create({ name }), await stored(3), signal)).toBeUndefined();
});
