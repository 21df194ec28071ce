import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  CoverageState,
  ModelState,
  ReferenceServiceService,
  type Coverage,
  type Encoding,
  type Model,
} from '@pairwise/api';
import { migrate, openDatabase, type Database } from '@pairwise/database';
import { testDatabase } from '@pairwise/database/testing';
import { startDurable, type Attempt, type Durable } from '@pairwise/durable';
import { PairwiseError } from '@pairwise/errors';
import { parseDigest } from '@pairwise/fingerprint';
import type { EncodedPair } from '@pairwise/preference';
import { openClient, startServer, type Client, type RunningServer } from '@pairwise/rpc';
import { openFolder, type BlobStore } from '@pairwise/store';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { compute, type ComputeDeps } from './compute.ts';
import { cover } from './cover.ts';
import { openCoverages } from './coverages.ts';
import { openLogps } from './logps.ts';
import { migrations } from './migrations.ts';
import type { Peers } from './peers.ts';
import { responsesOf } from './plan.ts';
import { referenceService, type ReferenceDeps } from './service.ts';
import { logpsOf, someEncoding, someModel, somePairs } from './testing.ts';
import { computeWork, coverWork } from './work.ts';

// The service with its workflow and a worker on a real Postgres, over a socket; only the model is a stand-in.

const parent = 'projects/default';
const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: console.error };
const resources = new Map<string, Model | Encoding>();
let folder: string;
let [blobs, database, durable, deps] = [] as unknown as [BlobStore, Database, Durable, ComputeDeps];
let [server, client] = [] as unknown as [RunningServer, Client<typeof ReferenceServiceService>];
/** The pairs that the stand-in for the model was asked for, and what it does before it answers. */
let asked: EncodedPair[] = [];
let before: () => Promise<void> = () => Promise.resolve();
/** Attempts whose plan is repeated after all units are computed, as if the process had died before keeping its outcome. */
const dyingAttempts = new Set<string>();

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'pairwise-reference-'));
  blobs = await openFolder(folder);
  const { url } = await testDatabase();
  database = openDatabase({ url, schema: 'reference' });
  await migrate(database, migrations);
  durable = await startDurable({ url, schema: 'reference', log: silent });
  const [coverages, logps] = [openCoverages(database), openLogps(database, blobs)];
  const find = (name: string) => {
    const found = resources.get(name);
    if (found !== undefined) return Promise.resolve(found as never);
    return Promise.reject(new PairwiseError('NOT_FOUND', `name: there is no '${name}'`, { field: 'name' }));
  };
  const peers = {
    model: { getModel: async ({ name }: Model) => ({ model: await find(name) }) },
    dataset: { getEncoding: async ({ name }: Encoding) => ({ encoding: await find(name) }) },
  } as unknown as Peers;
  const reference = {
    logps: async (_files: unknown, pairs: readonly EncodedPair[]) => {
      asked.push(...pairs);
      await before();
      return pairs.flatMap(logpsOf);
    },
    close: () => Promise.resolve(),
  };
  deps = { blobs, coverages, logps, reference, log: silent as unknown as ComputeDeps['log'] };
  durable.execute(coverWork, (input, attempt) => {
    const step: Attempt['step'] = async (name, work, options) => {
      if (name === 'plan' && dyingAttempts.delete(attempt.id)) {
        const ids = (await work(new AbortController().signal)) as string[];
        for (const id of ids) await durable.result(computeWork, id);
      }
      return attempt.step(name, work, options);
    };
    return cover({ blobs, coverages, logps, peers, durable }, input, { ...attempt, step });
  });
  durable.execute(computeWork, (input, attempt) => compute(deps, input, attempt));
  await durable.launch({ [coverWork.queue]: 20, [computeWork.queue]: 2 });
  const enqueue: ReferenceDeps['enqueue'] = ({ coverage: { name }, attempt }) =>
    durable.enqueue(coverWork, `${name}/${attempt}`, { coverage: name, attempt });
  const services = [referenceService({ blobs, coverages, logps, peers, numericsProfile: 'test', enqueue })];
  server = await startServer({ address: '127.0.0.1:0', log: silent, services });
  client = openClient(ReferenceServiceService, server);
});
beforeEach(() => {
  asked = [];
  before = () => Promise.resolve();
});
afterAll(async () => {
  client.close();
  await server.drain();
  await durable.stop();
  await database.close();
  rmSync(folder, { recursive: true });
});

/** A request for the logps of some pairs under a model of their own. */
async function requestFor(id: string, shards: readonly EncodedPair[][]) {
  const [model, encoding] = [someModel(id), await someEncoding(blobs, shards)];
  for (const resource of [model, encoding]) resources.set(resource.name, resource);
  return { parent, model: model.name, encoding: encoding.name };
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

test('every response is computed once, whichever encodings it is in, and read in canonical order', async () => {
  const [first, second] = [somePairs(0, 300), somePairs(200, 400)];
  const { coverage } = await client.ensureLogps(await requestFor('once', [first.slice(0, 150), first.slice(150)]));
  const complete = await untilEnded(coverage!);
  expect(complete).toMatchObject({ state: CoverageState.COMPLETE, responseCount: 600, reusedCount: 0 });
  expect(complete).toMatchObject({ computedCount: 600, computedTokenCount: 300n * 5n });
  expect(await read(complete)).toEqual(
    first.flatMap(logpsOf).map(({ response, tokenLogps }) => [response, [...tokenLogps]]),
  );

  const other = await untilEnded((await client.ensureLogps(await requestFor('once', [second]))).coverage!);
  expect(other).toMatchObject({ state: CoverageState.COMPLETE, responseCount: 400, reusedCount: 200 });
  expect(other).toMatchObject({ computedCount: 200, computedTokenCount: 100n * 5n });
  expect(asked.map(({ prompt: [n] }) => n).sort((a, b) => a! - b!)).toEqual(Array.from({ length: 400 }, (_, n) => n));
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

test('a response that several pairs share is computed once', async () => {
  const [pair, turned] = [somePairs(7, 8)[0]!, somePairs(7, 8)[0]!];
  [turned.chosen, turned.rejected] = [pair.rejected, pair.chosen];
  [turned.chosenDigest, turned.rejectedDigest] = [pair.rejectedDigest, pair.chosenDigest];
  const { coverage } = await client.ensureLogps(await requestFor('shared', [[pair, pair, turned]]));
  expect(await untilEnded(coverage!)).toMatchObject({ responseCount: 2, computedCount: 2, computedTokenCount: 5n });
});

test('a plan that is repeated does not count as reused what its own units have computed', async () => {
  const request = await requestFor('repeated', [somePairs(0, 300)]);
  const record = await deps.coverages.ensure({
    parent,
    model: resources.get(request.model) as Model,
    encoding: resources.get(request.encoding) as Encoding,
    numericsProfile: 'test',
  });
  dyingAttempts.add(`${record.coverage.name}/1`);
  const { coverage } = await client.ensureLogps(request);
  const complete = await untilEnded(coverage!);
  expect(complete).toMatchObject({ state: CoverageState.COMPLETE, responseCount: 600 });
  expect(complete).toMatchObject({ computedCount: 600, reusedCount: 0, computedTokenCount: 300n * 5n });
  expect(dyingAttempts.size).toBe(0);
});

test('a cancelled coverage keeps what is computed, reports what is missing, and starts again on demand', async () => {
  const started = Promise.withResolvers<undefined>();
  const proceed = Promise.withResolvers<undefined>();
  before = () => {
    started.resolve(undefined);
    return proceed.promise;
  };
  const request = await requestFor('cancelled', [somePairs(0, 10)]);
  const { coverage } = await client.ensureLogps(request);
  await started.promise;
  expect((await client.cancelCoverage({ name: coverage!.name })).coverage?.state).toBe(CoverageState.CANCELLED);
  expect(await untilEnded(coverage!)).toMatchObject({ state: CoverageState.CANCELLED });
  await expect(read(coverage!)).rejects.toMatchObject({ reason: 'MISSING_LOGPS' });
  proceed.resolve(undefined);
  const again = await untilEnded((await client.ensureLogps(request)).coverage!);
  expect(again).toMatchObject({ name: coverage!.name, state: CoverageState.COMPLETE, responseCount: 20 });
  expect(again.computedCount + again.reusedCount).toBe(20);
  expect((await client.cancelCoverage({ name: again.name })).coverage?.state).toBe(CoverageState.COMPLETE);
});

test('a model whose logps are not finite fails the coverage, with the reason', async () => {
  before = () => Promise.reject(new PairwiseError('NON_FINITE', 'the logps are not finite'));
  const request = await requestFor('broken', [somePairs(0, 2)]);
  const failed = await untilEnded((await client.ensureLogps(request)).coverage!);
  expect(failed.state).toBe(CoverageState.FAILED);
  expect(failed.error?.message).toBe('the logps are not finite');
  before = () => Promise.resolve();
  expect((await untilEnded((await client.ensureLogps(request)).coverage!)).state).toBe(CoverageState.COMPLETE);
});

test('a worker whose work was given to another one writes nothing', async () => {
  const pairs = somePairs(0, 3);
  const request = await requestFor('stale', [pairs]);
  const coverage = await deps.coverages.ensure({
    parent,
    model: resources.get(request.model) as Model,
    encoding: resources.get(request.encoding) as Encoding,
    numericsProfile: 'test',
  });
  const { name, referenceFingerprint } = coverage.coverage;
  const unit = { shard: coverage.shards[0]!, start: 0, end: 3 };
  const input = { coverage: name, referenceFingerprint: parseDigest(referenceFingerprint), files: [], unit };
  const attempt: Attempt = {
    id: 'stale',
    step: (_name, work) => work(new AbortController().signal),
    fence: () => Promise.reject(new PairwiseError('STALE_ATTEMPT', 'the work belongs to another process')),
  };
  await expect(compute(deps, input, attempt)).rejects.toMatchObject({ reason: 'STALE_ATTEMPT' });
  expect(asked).toHaveLength(3);
  expect(await deps.coverages.get(name)).toEqual(coverage);
  expect(await deps.logps.present(input.referenceFingerprint, responsesOf(pairs))).toEqual(new Set());
});

test.each<[string, string, object, string]>([
  ['NOT_FOUND', 'model', { model: `${parent}/models/none` }, 'there is no'],
  ['NOT_FOUND', 'encoding', { encoding: `${parent}/encodings/none` }, 'there is no'],
  ['WRONG_STATE', 'model', { model: `${parent}/models/coming` }, 'is not ready'],
  ['INVALID_ARGUMENT', 'parent', { parent: 'default' }, 'it must be projects/{project}'],
])('%s: %s', async (reason, field, change, text) => {
  const coming = someModel('coming', ModelState.IMPORTING);
  resources.set(coming.name, coming);
  const refused = client.ensureLogps({ ...(await requestFor('refused', [somePairs(0, 1)])), ...change });
  await expect(refused).rejects.toMatchObject({ reason, field, message: expect.stringContaining(text) as string });
});

test('a coverage that does not exist is NOT_FOUND in every call', async () => {
  const name = `${parent}/coverages/none`;
  const missing = { reason: 'NOT_FOUND', field: 'name' };
  await expect(client.getCoverage({ name })).rejects.toMatchObject(missing);
  await expect(client.cancelCoverage({ name })).rejects.toMatchObject(missing);
  await expect(client.watchCoverage({ name }).next()).rejects.toMatchObject(missing);
  await expect(client.readLogps({ name }).next()).rejects.toMatchObject(missing);
});
