import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ReferenceServiceService, StartTrainingRequest } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { digestOf, type Digest } from '@pairwise/fingerprint';
import { packPairs, responseDigest, type EncodedPair } from '@pairwise/preference';
import { openClient, service, startServer, type CallContext } from '@pairwise/rpc';
import { openFolder, type BlobStore } from '@pairwise/store';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { gatherInputs, isHeldOut, readTrainingPairs, openTrainingPairs } from './inputs.ts';
import type { Peers } from '../peers.ts';

let folder: string;
let blobs: BlobStore;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'pairwise-inputs-'));
  blobs = await openFolder(folder);
});
afterAll(() => rmSync(folder, { recursive: true }));

const pairs = Array.from({ length: 40 }, (_, n): EncodedPair => {
  const [prompt, chosen, rejected] = [Int32Array.of(n), Int32Array.of(100 + n, 2), Int32Array.of(200 + n, 3, 2)];
  const digests = { chosenDigest: responseDigest(prompt, chosen), rejectedDigest: responseDigest(prompt, rejected) };
  return { pairDigest: digestOf(Buffer.from(`pair ${n}`)), prompt, chosen, rejected, ...digests };
});
/** Logps from which the response can be recognized. */
const logpsOf = (pair: EncodedPair) => [
  { responseDigest: pair.chosenDigest, tokenLogps: [-pair.prompt[0]!, -0.25] },
  { responseDigest: pair.rejectedDigest, tokenLogps: [-pair.prompt[0]!, -0.5, -0.25] },
];

async function gather(covered: readonly EncodedPair[], evalFraction = 0) {
  const shards: Digest[] = [];
  for (const part of [pairs.slice(0, 25), pairs.slice(25)]) shards.push((await blobs.put(packPairs(part))).digest);
  const peers = {
    model: { getModel: () => Promise.resolve({ model: { files: [] } }) },
    dataset: { getEncoding: () => Promise.resolve({ encoding: { shardDigests: shards } }) },
    reference: {
      // In another order than the pairs: only digests say what belongs together.
      async *readLogps() {
        yield* await Promise.resolve(covered.flatMap(logpsOf).reverse());
      },
    },
  } as unknown as Peers;
  const evaluation = evalFraction > 0 ? { $case: 'evalFraction' as const, value: evalFraction } : undefined;
  const inputs = await gatherInputs(
    { blobs, peers, openPairs: openTrainingPairs(blobs) },
    StartTrainingRequest.create({ encoding: 'e', coverage: 'c', evaluation }),
    new AbortController().signal,
  );
  return { inputs, ...(await readTrainingPairs(blobs, inputs, evalFraction)) };
}

test('each response gets the reference logps of its own digest', async () => {
  const read = await gather(pairs);
  expect(read.inputs).toMatchObject({ pairCount: 40, evalPairCount: 0 });
  expect(read.pairs).toHaveLength(40);
  read.pairs.forEach(({ prompt, referenceChosen, referenceRejected }, n) => {
    expect([prompt[0], referenceChosen, referenceRejected]).toEqual([n, -n - 0.25, -n - 0.75]);
  });
});

test('a response that the coverage lacks is an error, and is not computed here', async () => {
  await expect(gather(pairs.slice(1))).rejects.toMatchObject({ reason: 'MISSING_LOGPS' });
});

test('the digest of a pair decides whether it is held out, whatever else is in the dataset', async () => {
  const read = await gather(pairs, 0.25);
  const held = pairs.filter(({ pairDigest }) => isHeldOut(pairDigest, 0.25));
  expect(read.evalPairs.map(({ prompt }) => prompt[0])).toEqual(held.map(({ prompt }) => prompt[0]));
  expect(read.pairs.length + read.evalPairs.length).toBe(40);
  // A quarter of 4000 digests, with a standard deviation of 27: six of those cannot be chance.
  const many = Array.from({ length: 4000 }, (_, n) => isHeldOut(digestOf(Buffer.from(`${n}`)), 0.25));
  expect(Math.abs(many.filter(Boolean).length - 1000)).toBeLessThan(6 * 27);
  expect(pairs.some(({ pairDigest }) => isHeldOut(pairDigest, 0))).toBe(false);
});

test('holding out every pair is an error', async () => {
  await expect(gather(pairs, 1)).rejects.toMatchObject({ reason: 'EMPTY_DATASET', field: 'encoding' });
});

test('a cancelled training does not wait for a reference service that sends nothing', async () => {
  const asked = Promise.withResolvers<undefined>();
  const silent = {
    async *readLogps(_request: object, { signal }: CallContext) {
      asked.resolve(undefined);
      await once(signal, 'abort');
      yield* [];
    },
  };
  const services = [service(ReferenceServiceService, silent as never)];
  const server = await startServer({ address: '127.0.0.1:0', log: { error: () => undefined }, services });
  const reference = openClient(ReferenceServiceService, server);
  const peers = {
    model: { getModel: () => Promise.resolve({ model: { files: [] } }) },
    dataset: { getEncoding: () => Promise.resolve({ encoding: { shardDigests: [] } }) },
    reference,
  } as unknown as Peers;
  const cancelled = new AbortController();
  const gathering = gatherInputs(
    { blobs, peers, openPairs: openTrainingPairs(blobs) },
    StartTrainingRequest.create({}),
    cancelled.signal,
  );
  await asked.promise;
  cancelled.abort(new PairwiseError('CANCELLED', 'it was cancelled'));
  await expect(gathering).rejects.toMatchObject({ reason: 'CANCELLED' });
  reference.close();
  await server.drain();
});
