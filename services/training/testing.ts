import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  TrainingServiceService,
  type Checkpoint,
  type MetricPoint,
  type StartTrainingRequest,
  type Training,
} from '@pairwise/api';
import { migrate, openDatabase, openRates, type Database } from '@pairwise/database';
import { testDatabase } from '@pairwise/database/testing';
import { startDurable, workersOf, type Attempt } from '@pairwise/durable';
import { parseDevice } from '@pairwise/ort';
import { openClient, startServer, type Client } from '@pairwise/rpc';
import { openFolder } from '@pairwise/store';
import { writeTinyModel } from '@pairwise/testing';
import { migrations } from './migrations.ts';
import { trainingService, type TrainingDeps } from './service.ts';
import { newTraining, resolveTrainingSpec } from './start.ts';
import { tinyPeers } from './testing.peers.ts';
import type { TrainDeps } from './train/deps.ts';
import { openTrainingPairs } from './train/inputs.ts';
import { measurePeak } from './train/peak.ts';
import { openPolicies } from './train/policy.ts';
import { runTraining } from './train/train.ts';
import type { TrainingRecord } from './trainings/record.ts';
import { openTrainings } from './trainings/trainings.ts';
import { trainWork, trainWorkId } from './work.ts';

/** The service and a worker on a real Postgres, over a socket, with the real engine on a model of random weights. */
export interface TestTraining {
  client: Client<typeof TrainingServiceService>;
  deps: TrainDeps;
  database: Database;
  /** The activity, as `<training> <activity>`, in which the worker waits until its training is cancelled. */
  held: string;
  /** Follows a training to its end. `seen` gets the metric points on the way. */
  untilEnded(name: string, seen?: (point: MetricPoint, sequence: bigint) => unknown): Promise<Training>;
  /** The checkpoints of a training, by step. */
  checkpoints(parent: string): Promise<Checkpoint[]>;
  /** Stores a training whose work is not enqueued. */
  queue(request: StartTrainingRequest): Promise<TrainingRecord>;
  stop(): Promise<void>;
}

const numericsProfile = 'test/any/onnxruntime/float32';
const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: console.error };

export async function startTestTraining(): Promise<TestTraining> {
  const folder = mkdtempSync(join(tmpdir(), 'pairwise-training-'));
  const blobs = await openFolder(join(folder, 'blobs'));
  writeTinyModel(join(folder, 'model'));
  const peers = await tinyPeers(blobs, join(folder, 'model'));
  const { url } = await testDatabase();
  const database = openDatabase({ url, schema: 'training' });
  await migrate(database, migrations);
  const durable = await startDurable({ url, schema: 'training', log: silent });
  const trainings = openTrainings(database);
  const policies = openPolicies(blobs, { device: parseDevice('cpu'), threads: 1 });
  const openPairs = openTrainingPairs(blobs);
  const rates = openRates(database);
  const peak = measurePeak();
  const deps: TrainDeps = {
    blobs,
    trainings,
    peers,
    policies,
    openPairs,
    rates,
    numericsProfile,
    availableBytes: undefined,
    workers: () => workersOf(durable, trainWork),
    peak,
  };
  const hooks = { held: '' };
  durable.execute(trainWork, ({ training }, attempt) => {
    const activity: Attempt['activity'] = (name, work, options) =>
      attempt.activity(
        name,
        async (signal) => {
          if (hooks.held === `${training} ${name}` && !signal.aborted) await once(signal, 'abort');
          return work(signal);
        },
        options,
      );
    return runTraining(deps, training, { ...attempt, activity });
  });
  await durable.launch({ [trainWork.queue]: 1 });
  const serviceDeps: TrainingDeps = {
    database,
    trainings,
    peers,
    numericsProfile,
    rates,
    workers: () => workersOf(durable, trainWork),
    enqueue: ({ training: { name }, attempt }) =>
      durable.enqueue(trainWork, trainWorkId(name, attempt), { training: name }),
    cancel: ({ training: { name }, attempt }, tx) => durable.cancel(trainWorkId(name, attempt), tx),
  };
  const server = await startServer({ address: '127.0.0.1:0', log: silent, services: [trainingService(serviceDeps)] });
  const client = openClient(TrainingServiceService, server);
  return Object.assign(hooks, {
    client,
    deps,
    database,
    ...readersOf(client),
    queue: (request: StartTrainingRequest) =>
      trainings.ensure(newTraining(request, resolveTrainingSpec(request.spec), numericsProfile), request),
    stop: async () => {
      client.close();
      await server.drain();
      await durable.stop();
      await policies.close();
      peak.stop();
      await database.close();
      rmSync(folder, { recursive: true });
    },
  });
}

function readersOf(client: TestTraining['client']): Pick<TestTraining, 'untilEnded' | 'checkpoints'> {
  return {
    untilEnded: async (name, seen = () => undefined) => {
      let last: Training | undefined;
      for await (const { payload, sequence } of client.watchTraining({ name, afterSequence: 0n })) {
        if (payload?.$case === 'training') last = payload.value;
        if (payload?.$case === 'metrics') await seen(payload.value, sequence);
      }
      return last!;
    },
    checkpoints: async (parent) => (await client.listCheckpoints({ parent, pageSize: 0, pageToken: '' })).checkpoints,
  };
}
