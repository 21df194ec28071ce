import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ReferenceServiceService, type Encoding, type Model } from '@pairwise/api';
import { migrate, openDatabase, openRates, type Database } from '@pairwise/database';
import { testDatabase } from '@pairwise/database/testing';
import { startDurable, type Attempt } from '@pairwise/durable';
import { PairwiseError } from '@pairwise/errors';
import type { EncodedPair } from '@pairwise/preference';
import { openClient, startServer, type Client } from '@pairwise/rpc';
import { openFolder, type BlobStore } from '@pairwise/store';
import { compute, type ComputeDeps } from './compute.ts';
import { cover } from './cover.ts';
import { openCoverages } from './coverages.ts';
import { openLogps } from './logps.ts';
import { migrations } from './migrations.ts';
import type { Peers } from './peers.ts';
import { referenceService } from './service.ts';
import { logpsOf } from './testing.pairs.ts';
import { computeWork, coverWork } from './work.ts';

/** The service with its workflow and a worker on a real Postgres, over a socket; only the model is a stand-in. */
export interface TestReference {
  client: Client<typeof ReferenceServiceService>;
  deps: ComputeDeps;
  database: Database;
  blobs: BlobStore;
  /** The models and encodings that its peers know, by name. */
  resources: Map<string, Model | Encoding>;
  /** The pairs that the stand-in for the model was asked for. */
  asked: EncodedPair[];
  /** The files with quantised layers of the models that it was asked about, one for each call. */
  opened: unknown[];
  /** Called before the stand-in for the model answers. */
  beforeAnswer: () => Promise<void>;
  /** The rate that the stand-in reports to have measured. */
  measuredRate: number | undefined;
  /**
   * Wraps the body of the next plans, given what it does: it returns the ids of the units' work. To run it twice is as if the
   * process had died before storing its outcome.
   */
  aroundPlan: (plan: () => Promise<string[]>) => Promise<string[]>;
  /** Sets the memory that the worker reports to have, in bytes. It reports none at first. */
  setWorkerMemory(bytes: number): Promise<void>;
  /** Waits until the units with these ids are computed. */
  untilComputed(ids: readonly string[]): Promise<void>;
  stop(): Promise<void>;
}

const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: console.error };

export async function startTestReference(): Promise<TestReference> {
  const folder = mkdtempSync(join(tmpdir(), 'pairwise-reference-'));
  const blobs = await openFolder(folder);
  const { url } = await testDatabase();
  const database = openDatabase({ url, schema: 'reference' });
  await migrate(database, migrations);
  const durable = await startDurable({ url, schema: 'reference', log: silent });
  const [coverages, logps] = [openCoverages(database), openLogps(database, blobs)];
  const rates = openRates(database);
  const hooks: Pick<TestReference, 'asked' | 'opened' | 'beforeAnswer' | 'measuredRate' | 'aroundPlan'> = {
    asked: [],
    opened: [],
    beforeAnswer: () => Promise.resolve(),
    measuredRate: undefined,
    aroundPlan: (plan) => plan(),
  };
  const resources: TestReference['resources'] = new Map();
  const peers = peersOf(resources);
  const reference = {
    logps: async ({ quantized }: { quantized?: unknown }, pairs: readonly EncodedPair[]) => {
      hooks.asked.push(...pairs);
      hooks.opened.push(quantized);
      await hooks.beforeAnswer();
      return { logps: pairs.flatMap(logpsOf), rate: hooks.measuredRate };
    },
    close: () => Promise.resolve(),
  };
  const numericsProfile = 'test';
  const log = silent as unknown as ComputeDeps['log'];
  const availableBytes = undefined;
  const deps: ComputeDeps = { blobs, coverages, logps, reference, rates, numericsProfile, availableBytes, log };
  const serviceDeps = { database, blobs, coverages, logps, peers, rates, durable, numericsProfile };
  durable.execute(coverWork, (input, attempt) => {
    const activity: Attempt['activity'] = (name, work, options) => {
      if (name !== 'plan') return attempt.activity(name, work, options);
      const plan: typeof work = (signal) => hooks.aroundPlan(() => work(signal) as Promise<string[]>) as never;
      return attempt.activity(name, plan, options);
    };
    return cover(serviceDeps, input, { ...attempt, activity });
  });
  durable.execute(computeWork, (input, attempt) => compute(deps, input, attempt));
  await durable.launch({ [coverWork.queue]: 20, [computeWork.queue]: 2 });
  const services = [referenceService(serviceDeps)];
  const server = await startServer({ address: '127.0.0.1:0', log: silent, services });
  const client = openClient(ReferenceServiceService, server);
  const stop = async () => {
    client.close();
    await server.drain();
    await durable.stop();
    await database.close();
    rmSync(folder, { recursive: true });
  };
  const untilComputed = async (ids: readonly string[]) => {
    for (const id of ids) await durable.result(computeWork, id);
  };
  const setWorkerMemory = async (bytes: number) => {
    await database.run('update reference_durable.executors set about = $1', [{ memoryBytes: String(bytes) }]);
  };
  return Object.assign(hooks, { client, deps, database, blobs, resources, setWorkerMemory, untilComputed, stop });
}

function peersOf(resources: TestReference['resources']): Peers {
  const find = (name: string) => {
    const found = resources.get(name);
    if (found !== undefined) return Promise.resolve(found as never);
    return Promise.reject(new PairwiseError('NOT_FOUND', `name: there is no '${name}'`, { field: 'name' }));
  };
  return {
    model: { getModel: async ({ name }: Model) => ({ model: await find(name) }) },
    dataset: { getEncoding: async ({ name }: Encoding) => ({ encoding: await find(name) }) },
  } as unknown as Peers;
}
