import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ReferenceServiceService, type Encoding, type Model } from '@pairwise/api';
import { migrate, openDatabase } from '@pairwise/database';
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
import { referenceService, type ReferenceDeps } from './service.ts';
import { logpsOf } from './testing.pairs.ts';
import { computeWork, coverWork } from './work.ts';

/** The service with its workflow and a worker on a real Postgres, over a socket; only the model is a stand-in. */
export interface TestReference {
  client: Client<typeof ReferenceServiceService>;
  deps: ComputeDeps;
  blobs: BlobStore;
  /** The models and encodings that its peers know, by name. */
  resources: Map<string, Model | Encoding>;
  /** The pairs that the stand-in for the model was asked for. */
  asked: EncodedPair[];
  /** Called before the stand-in for the model answers. */
  beforeAnswer: () => Promise<void>;
  /** Attempts whose plan is repeated after all units are computed, as if the process had died before storing its outcome. */
  dyingAttempts: Set<string>;
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
  const hooks: Pick<TestReference, 'asked' | 'beforeAnswer'> = { asked: [], beforeAnswer: () => Promise.resolve() };
  const resources: TestReference['resources'] = new Map();
  const dyingAttempts = new Set<string>();
  const peers = peersOf(resources);
  const reference = {
    logps: async (_files: unknown, pairs: readonly EncodedPair[]) => {
      hooks.asked.push(...pairs);
      await hooks.beforeAnswer();
      return pairs.flatMap(logpsOf);
    },
    close: () => Promise.resolve(),
  };
  const deps: ComputeDeps = { blobs, coverages, logps, reference, log: silent as unknown as ComputeDeps['log'] };
  durable.execute(coverWork, (input, attempt) => {
    const activity: Attempt['activity'] = async (name, work, options) => {
      if (name === 'plan' && dyingAttempts.delete(attempt.id)) {
        const ids = (await work(new AbortController().signal)) as string[];
        for (const id of ids) await durable.result(computeWork, id);
      }
      return attempt.activity(name, work, options);
    };
    return cover({ blobs, coverages, logps, peers, durable }, input, { ...attempt, activity });
  });
  durable.execute(computeWork, (input, attempt) => compute(deps, input, attempt));
  await durable.launch({ [coverWork.queue]: 20, [computeWork.queue]: 2 });
  const enqueue: ReferenceDeps['enqueue'] = ({ coverage: { name }, attempt }) =>
    durable.enqueue(coverWork, `${name}/${attempt}`, { coverage: name, attempt });
  const services = [referenceService({ blobs, coverages, logps, peers, numericsProfile: 'test', enqueue })];
  const server = await startServer({ address: '127.0.0.1:0', log: silent, services });
  const client = openClient(ReferenceServiceService, server);
  const stop = async () => {
    client.close();
    await server.drain();
    await durable.stop();
    await database.close();
    rmSync(folder, { recursive: true });
  };
  return Object.assign(hooks, { client, deps, blobs, resources, dyingAttempts, stop });
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
