import { BaseQuantization, CoverageState, type Coverage, type WorkerMemory } from '@pairwise/api';
import { responseDigest, type EncodedPair } from '@pairwise/preference';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { pairOperations, someEncoding, someModel, somePairs, weightBytes } from './testing.pairs.ts';
import { startTestReference, type TestReference } from './testing.ts';

let service: TestReference;

beforeAll(async () => {
  service = await startTestReference();
});
afterAll(() => service.stop());

async function requestFor(id: string, shards: readonly EncodedPair[][]) {
  const model = await someModel(service.blobs, id);
  const encoding = await someEncoding(service.blobs, shards);
  for (const resource of [model, encoding]) service.resources.set(resource.name, resource);
  const baseQuantization = BaseQuantization.NONE;
  return { parent: 'projects/default', model: model.name, encoding: encoding.name, baseQuantization };
}

async function cover(request: Awaited<ReturnType<typeof requestFor>>): Promise<Coverage> {
  const { name } = (await service.client.ensureLogps(request)).coverage!;
  let last: Coverage | undefined;
  for await (const { coverage } of service.client.watchCoverage({ name })) last = coverage;
  return last!;
}

/** The planned peak, in bytes. */
const planned = ({ weightBytes, activationBytes, adapterBytes, processBytes }: WorkerMemory) =>
  Number(weightBytes + activationBytes + adapterBytes + processBytes);

/** A pair with a prompt of `length` tokens, and one more that goes through the layers. */
function longPair(length: number): EncodedPair {
  const [prompt, chosen, rejected] = [new Int32Array(length), Int32Array.of(1, 2), Int32Array.of(3)];
  const digests = { chosenDigest: responseDigest(prompt, chosen), rejectedDigest: responseDigest(prompt, rejected) };
  return { ...somePairs(0, 1)[0]!, prompt, chosen, rejected, ...digests };
}

test('what is missing is counted, and takes as long as the measured rate says', async () => {
  const { client, database, deps } = service;
  const pairs = somePairs(0, 30);
  const request = await requestFor('estimated', [pairs.slice(0, 20), pairs.slice(20)]);
  const before = (await client.estimateLogps(request)).estimate!;
  // The last token of a response does not go through the model.
  expect(before).toMatchObject({ responseCount: 60, missingCount: 60, missingTokenCount: 30n * 4n, workerCount: 1 });
  expect(before.durationSeconds).toBeUndefined();
  expect(before.memory).toMatchObject({ weightBytes: BigInt(weightBytes), adapterBytes: 0n, measuredBytes: 0n });
  expect(before.memory!.activationBytes).toBeGreaterThan(0n);
  expect(before.memory!.processBytes).toBeGreaterThan(0n);
  expect(before.memory!.availableBytes).toBe(0n);
  expect(service.asked).toEqual([]);

  await cover(await requestFor('estimated', [pairs.slice(0, 20)]));
  await deps.rates.add(database, 'test', 4 * pairOperations);
  const between = (await client.estimateLogps(request)).estimate!;
  expect(between).toMatchObject({ responseCount: 60, missingCount: 20, missingTokenCount: 10n * 4n });
  expect(between.durationSeconds).toBeCloseTo(2.5, 6);
  expect(service.asked).toHaveLength(20);

  expect(await cover(request)).toMatchObject({ reusedCount: 40, computedCount: 20 });
  const after = (await client.estimateLogps(request)).estimate!;
  expect(after).toMatchObject({ responseCount: 60, missingCount: 0, missingTokenCount: 0n, memory: undefined });
  expect(after.durationSeconds).toBe(0);
});

test('work that is too large for every worker is refused, with the remedies', async () => {
  const { client } = service;
  const request = await requestFor('large', [somePairs(0, 4), [longPair(2000)]]);
  const { memory } = (await client.estimateLogps(request)).estimate!;
  const limit = Math.ceil(planned(memory!) / 0.9);
  await service.setWorkerMemory(limit - 1e6);
  expect((await client.estimateLogps(request)).estimate!.memory).toEqual({
    ...memory,
    availableBytes: BigInt(limit - 1e6),
  });
  const failed = await cover(request);
  expect(failed.state).toBe(CoverageState.FAILED);
  expect(failed.error?.message).toMatch(
    /^a reference worker needs \d+\.\d+ GB \(weights .*\), but .*; set base_quantization to NF4, or lower max_length \(the longest pair has 2001 tokens\), or use workers with more memory$/,
  );
  expect(service.asked.map(({ prompt }) => prompt.length)).not.toContain(2000);

  await service.setWorkerMemory(limit + 1e6);
  expect(await cover(request)).toMatchObject({ state: CoverageState.COMPLETE, name: failed.name, computedCount: 10 });
  // What is in the store already needs no worker.
  await service.setWorkerMemory(1e6);
  expect(await cover(await requestFor('large', [[longPair(2000)]]))).toMatchObject({ state: CoverageState.COMPLETE });
});
