import {
  BaseQuantization,
  CoverageState,
  ModelState,
  QuantizationState,
  type Coverage,
  type Encoding,
  type Model,
  ReferenceServiceService,
} from '@pairwise/api';
import { offences, send } from '@pairwise/api/testing';
import { Declined, type Attempt } from '@pairwise/durable';
import { PairwiseError } from '@pairwise/errors';
import { parseDigest } from '@pairwise/fingerprint';
import type { EncodedPair } from '@pairwise/preference';
import type { Client } from '@pairwise/rpc';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { compute } from './compute.ts';
import { responsesOf } from './plan.ts';
import { logpsOf, pairOperations, someEncoding, someModel, quantise, somePairs } from './testing.pairs.ts';
import { startTestReference, type TestReference } from './testing.ts';

const parent = 'projects/default';
let service: TestReference;
let client: Client<typeof ReferenceServiceService>;

beforeAll(async () => {
  service = await startTestReference();
  ({ client } = service);
});
beforeEach(() => {
  service.asked = [];
  service.opened = [];
  service.beforeAnswer = () => Promise.resolve();
  service.aroundPlan = (plan) => plan();
  service.measuredRate = undefined;
});
afterAll(() => service.stop());

/** A request for the logps of some pairs under a model of their own. */
async function requestFor(id: string, shards: readonly EncodedPair[][]) {
  const model = await someModel(service.blobs, id);
  const encoding = await someEncoding(service.blobs, shards);
  for (const resource of [model, encoding]) service.resources.set(resource.name, resource);
  return { parent, model: model.name, encoding: encoding.name, baseQuantization: BaseQuantization.NONE };
}

async function untilEnded({ name }: Coverage): Promise<Coverage> {
  let last: Coverage | undefined;
  for await (const { coverage } of client.watchCoverage({ name })) last = coverage;
  return last!;
}

async function read({ name }: Coverage): Promise<[string, number[]][]> {
  const all: [string, number[]][] = [];
  for await (const { responseDigest, tokenLogps } of client.readLogps({ name })) all.push([responseDigest, tokenLogps]);
  return all;
}

test.each(offences('ReferenceService', { ensureLogps: { parent }, estimateLogps: {}, listCoverages: { parent } }))(
  '$method refuses $field of $value',
  async (offence) => {
    const refused = send(client, ReferenceServiceService, offence);
    await expect(refused).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT', field: offence.field });
  },
);

test('every response is computed once, whichever encodings it is in, and read in canonical order', async () => {
  const [first, second] = [somePairs(0, 300), somePairs(200, 400)];
  const { coverage } = await client.ensureLogps(await requestFor('once', [first.slice(0, 150), first.slice(150)]));
  const complete = await untilEnded(coverage!);
  expect(complete).toMatchObject({ state: CoverageState.COMPLETE, responseCount: 600, reusedCount: 0 });
  expect(complete).toMatchObject({ computedCount: 600, computedTokenCount: 300n * 5n });
  expect((await client.listCoverages({ parent, pageSize: 0, pageToken: '' })).coverages).toEqual([complete]);
  expect(await read(complete)).toEqual(
    first.flatMap(logpsOf).map(({ response, tokenLogps }) => [response, [...tokenLogps]]),
  );

  const other = await untilEnded((await client.ensureLogps(await requestFor('once', [second]))).coverage!);
  expect(other).toMatchObject({ state: CoverageState.COMPLETE, responseCount: 400, reusedCount: 200 });
  expect(other).toMatchObject({ computedCount: 200, computedTokenCount: 100n * 5n });
  expect(service.asked.map(({ prompt: [n] }) => n).sort((a, b) => a! - b!)).toEqual(
    Array.from({ length: 400 }, (_, n) => n),
  );
  expect((await read(other)).map(([response]) => response)).toEqual(responsesOf(second));
});

test('a complete coverage is not computed again, and another model makes another coverage', async () => {
  const request = await requestFor('again', [somePairs(0, 4)]);
  const complete = await untilEnded((await client.ensureLogps(request)).coverage!);
  expect((await client.ensureLogps(request)).coverage).toEqual(complete);
  const under = await untilEnded((await client.ensureLogps(await requestFor('another', [somePairs(0, 4)]))).coverage!);
  expect(under).toMatchObject({ computedCount: 8, reusedCount: 0 });
  expect(under.name).not.toBe(complete.name);
});

test('a quantised model is a reference of its own, which workers open with the quantised layers', async () => {
  const request = await requestFor('quantised', [somePairs(0, 4)]);
  const plain = await untilEnded((await client.ensureLogps(request)).coverage!);
  expect([plain.baseQuantization, service.opened]).toEqual([BaseQuantization.NONE, [undefined]]);
  const { INT8, UNSPECIFIED } = BaseQuantization;
  const quantised = { ...request, baseQuantization: INT8 };
  const refusal = { reason: 'WRONG_STATE', field: 'base_quantization' };
  const remedy = expect.stringContaining('call EnsureQuantization') as string;
  await expect(client.ensureLogps(quantised)).rejects.toMatchObject({ ...refusal, message: remedy });

  const model = service.resources.get(request.model) as Model;
  const { digest, sizeBytes } = await quantise(service.blobs, model);
  const ready = { type: INT8, state: QuantizationState.READY, error: undefined, digest };
  model.quantizations = [{ ...ready, sizeBytes: BigInt(sizeBytes), writtenSizeBytes: BigInt(sizeBytes) }];
  const coverage = await untilEnded((await client.ensureLogps(quantised)).coverage!);
  expect(coverage).toMatchObject({ state: CoverageState.COMPLETE, baseQuantization: INT8, computedCount: 8 });
  expect(coverage.name).not.toBe(plain.name);
  expect(coverage.referenceFingerprint).not.toBe(plain.referenceFingerprint);
  expect(service.opened.slice(1)).toEqual([expect.objectContaining({ digest, sizeBytes: String(sizeBytes) })]);
  expect((await client.ensureLogps({ ...request, baseQuantization: UNSPECIFIED })).coverage).toEqual(plain);
});

test('a response that several pairs share is computed once', async () => {
  const [pair, turned] = [somePairs(7, 8)[0]!, somePairs(7, 8)[0]!];
  [turned.chosen, turned.rejected] = [pair.rejected, pair.chosen];
  [turned.chosenDigest, turned.rejectedDigest] = [pair.rejectedDigest, pair.chosenDigest];
  const { coverage } = await client.ensureLogps(await requestFor('shared', [[pair, pair, turned]]));
  expect(await untilEnded(coverage!)).toMatchObject({ responseCount: 2, computedCount: 2, computedTokenCount: 5n });
});

test('a plan that is repeated does not count as reused what its own units have computed', async () => {
  let planned: string[] = [];
  service.aroundPlan = async (plan) => {
    planned = await plan();
    await service.untilComputed(planned);
    return plan();
  };
  const { coverage } = await client.ensureLogps(await requestFor('repeated', [somePairs(0, 300)]));
  const complete = await untilEnded(coverage!);
  expect(complete).toMatchObject({ state: CoverageState.COMPLETE, responseCount: 600 });
  expect(complete).toMatchObject({ computedCount: 600, reusedCount: 0, computedTokenCount: 300n * 5n });
  expect(planned).toHaveLength(2);
});

test('units follow the measured rate, and a plan that is repeated names the same ones whatever is measured meanwhile', async () => {
  const { rates } = service.deps;
  // In 15 seconds a little more than a hundred pairs.
  await rates.add(service.database, 'test', (100.5 * pairOperations) / 15);
  const planned = Promise.withResolvers<undefined>();
  service.beforeAnswer = () => planned.promise;
  const plans: string[][] = [];
  service.aroundPlan = async (plan) => {
    plans.push(await plan());
    await rates.add(service.database, 'test', 1e12);
    plans.push(await plan());
    planned.resolve(undefined);
    return plans[1]!;
  };
  const request = await requestFor('measured', [somePairs(0, 300)]);
  const complete = await untilEnded((await client.ensureLogps(request)).coverage!);
  expect(complete).toMatchObject({ state: CoverageState.COMPLETE, computedCount: 600 });
  expect(plans[1]).toEqual(plans[0]);
  const bounds = plans[0]!.map((id) => id.slice(id.lastIndexOf('/') + 1));
  expect(bounds).toEqual(['0-100', '100-200', '200-300']);
  expect(service.asked).toHaveLength(300);
});

test('a worker takes the rate of each unit into account', async () => {
  const { rates } = service.deps;
  await rates.add(service.database, 'test', 1e12);
  const before = (await rates.of('test'))!;
  service.measuredRate = 3e12;
  await untilEnded((await client.ensureLogps(await requestFor('rated', [somePairs(0, 10)]))).coverage!);
  expect(await rates.of('test')).toBeCloseTo(0.7 * before + 0.3 * 3e12, 0);
});

test('a cancelled coverage keeps what is computed, reports what is missing, and starts again on demand', async () => {
  const started = Promise.withResolvers<undefined>();
  const proceed = Promise.withResolvers<undefined>();
  service.beforeAnswer = () => {
    started.resolve(undefined);
    return proceed.promise;
  };
  const request = await requestFor('cancelled', [somePairs(0, 10)]);
  const { coverage } = await client.ensureLogps(request);
  await started.promise;
  expect((await client.cancelCoverage({ name: coverage!.name, requestId: 'stop' })).coverage?.state).toBe(
    CoverageState.CANCELLED,
  );
  expect(await untilEnded(coverage!)).toMatchObject({ state: CoverageState.CANCELLED });
  await expect(read(coverage!)).rejects.toMatchObject({ reason: 'MISSING_LOGPS' });
  proceed.resolve(undefined);
  const begun = (await client.ensureLogps(request)).coverage!;
  // A late repetition of the call that cancelled it.
  await client.cancelCoverage({ name: coverage!.name, requestId: 'stop' });
  const again = await untilEnded(begun);
  expect(again).toMatchObject({ name: coverage!.name, state: CoverageState.COMPLETE, responseCount: 20 });
  expect(again.computedCount + again.reusedCount).toBe(20);
  expect((await client.cancelCoverage({ name: again.name, requestId: '' })).coverage?.state).toBe(
    CoverageState.COMPLETE,
  );
});

test('a model whose logps are not finite fails the coverage, with the reason', async () => {
  service.beforeAnswer = () => Promise.reject(new PairwiseError('NON_FINITE', 'the logps are not finite'));
  const request = await requestFor('broken', [somePairs(0, 2)]);
  const failed = await untilEnded((await client.ensureLogps(request)).coverage!);
  expect(failed.state).toBe(CoverageState.FAILED);
  expect(failed.error?.message).toBe('the logps are not finite');
  service.beforeAnswer = () => Promise.resolve();
  expect((await untilEnded((await client.ensureLogps(request)).coverage!)).state).toBe(CoverageState.COMPLETE);
});

/** A coverage whose only unit has not been enqueued. */
async function lonelyUnit(id: string, pairs: readonly EncodedPair[]) {
  const request = await requestFor(id, [[...pairs]]);
  const coverage = await service.deps.coverages.ensure({
    parent,
    model: service.resources.get(request.model) as Model,
    baseQuantization: BaseQuantization.NONE,
    encoding: service.resources.get(request.encoding) as Encoding,
    numericsProfile: 'test',
  });
  const { name, referenceFingerprint } = coverage.coverage;
  const unit = { shard: coverage.shards[0]!, start: 0, end: pairs.length };
  const input = { coverage: name, referenceFingerprint: parseDigest(referenceFingerprint), files: [], unit };
  return { coverage, input };
}

test('a worker whose work was given to another one writes nothing', async () => {
  const pairs = somePairs(0, 3);
  const { coverage, input } = await lonelyUnit('stale', pairs);
  const attempt: Attempt = {
    id: 'stale',
    activity: (_name, work) => work(new AbortController().signal),
    fence: () => Promise.reject(new PairwiseError('STALE_ATTEMPT', 'the work belongs to another process')),
  };
  service.measuredRate = 5e12;
  const rate = await service.deps.rates.of('test');
  await expect(compute(service.deps, input, attempt)).rejects.toMatchObject({ reason: 'STALE_ATTEMPT' });
  expect(service.asked).toHaveLength(3);
  expect(await service.deps.coverages.get(input.coverage)).toEqual(coverage);
  expect(await service.deps.rates.of('test')).toBe(rate);
  expect(await service.deps.logps.present(input.referenceFingerprint, responsesOf(pairs))).toEqual(new Set());
});

test('a unit that was planned for more memory than a worker has is left to others', async () => {
  const { input } = await lonelyUnit('large-unit', somePairs(0, 3));
  const attempt: Attempt = {
    id: 'large-unit',
    activity: (_name, work) => work(new AbortController().signal),
    fence: () => Promise.resolve(),
  };
  const deps = { ...service.deps, availableBytes: 1e9 };
  await expect(compute(deps, { ...input, memoryBytes: 1e9 + 1 }, attempt)).rejects.toBeInstanceOf(Declined);
  expect(service.asked).toHaveLength(0);
  await compute(deps, { ...input, memoryBytes: 1e9 }, attempt);
  expect(service.asked).toHaveLength(3);
});

test.each<[string, string, object, string]>([
  ['NOT_FOUND', 'model', { model: `${parent}/models/none` }, 'there is no'],
  ['NOT_FOUND', 'encoding', { encoding: `${parent}/encodings/none` }, 'there is no'],
  ['WRONG_STATE', 'model', { model: `${parent}/models/coming` }, 'is not ready'],
  ['INVALID_ARGUMENT', 'parent', { parent: 'default' }, 'it must be projects/{project}'],
])('%s: %s', async (reason, field, change, text) => {
  const coming = await someModel(service.blobs, 'coming', ModelState.IMPORTING);
  service.resources.set(coming.name, coming);
  const request = { ...(await requestFor('refused', [somePairs(0, 1)])), ...change };
  const refusal = { reason, field, message: expect.stringContaining(text) as string };
  await expect(client.ensureLogps(request)).rejects.toMatchObject(refusal);
  await expect(client.estimateLogps(request)).rejects.toMatchObject(refusal);
});

test('a coverage that does not exist is NOT_FOUND in every call', async () => {
  const name = `${parent}/coverages/none`;
  const missing = { reason: 'NOT_FOUND', field: 'name' };
  await expect(client.getCoverage({ name })).rejects.toMatchObject(missing);
  await expect(client.cancelCoverage({ name, requestId: '' })).rejects.toMatchObject(missing);
  await expect(client.watchCoverage({ name }).next()).rejects.toMatchObject(missing);
  await expect(client.readLogps({ name }).next()).rejects.toMatchObject(missing);
});
