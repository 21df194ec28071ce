import { join } from 'node:path';
import { Encoding, type ReadPairsResponse } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { packPairs, pairDigest, responseDigest, type EncodedPair, type PreferencePair } from '@pairwise/preference';
import { openFolder } from '@pairwise/store';
import { expect, test } from 'vitest';
import type { Peers } from './peers.ts';
import { freshFolder } from './testing.ts';
import { textsOf, verificationPairs } from './verificationPairs.ts';

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

/** What an artifact is verified with if pair `n` has a prompt of `promptLength(n)` tokens, and responses of one. */
async function chosen(promptLength: (n: number) => number, longest = Infinity) {
  const blobs = await openFolder(join(freshFolder(), 'blobs'));
  const { digest } = await blobs.put(packPairs(texts.map((pair, n) => encoded(pair, promptLength(n)))));
  return verificationPairs(blobs, Encoding.create({ name, shardDigests: [digest] }), longest);
}

async function stored(promptLength: number) {
  return (await chosen(() => promptLength)).pairs;
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

test('pairs that llama.cpp reads differently are left out and counted', async () => {
  const { pairs, sequences, caveats } = await chosen((n) => (n % 4 === 1 ? 16 : 15), 16);
  expect(pairs).toHaveLength(64);
  expect(pairs.slice(0, 4).map(({ pairDigest: digest }) => digest)).toEqual(
    [0, 2, 3, 4].map((n) => pairDigest(texts[n]!)),
  );
  expect(sequences.slice(0, 2)).toEqual(
    [1, 2].map((id) => ({ prompt: new Int32Array(15), response: Int32Array.of(id) })),
  );
  expect(caveats).toEqual([
    expect.stringMatching(/^the verification left out 21 pairs of more than 16 tokens, because/),
  ]);
  expect((await chosen((n) => (n === 0 ? 16 : 15), 16)).caveats).toEqual([expect.stringMatching(/left out 1 pair of/)]);
  expect((await chosen((n) => (n === 99 ? 16 : 15), 16)).caveats).toEqual([]);
});

test('if all pairs are too long, their beginnings are compared', async () => {
  const { pairs, sequences, caveats } = await chosen(() => 16, 16);
  expect(pairs).toHaveLength(64);
  expect(sequences).toHaveLength(128);
  expect(sequences[1]).toEqual({ prompt: new Int32Array(1), response: new Int32Array(15) });
  expect(caveats).toEqual([expect.stringContaining('only their first 16 tokens')]);
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
