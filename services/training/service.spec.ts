import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  StartTrainingRequest,
  TrainingServiceService,
  TrainingState,
  type MetricPoint,
  type Training,
} from '@pairwise/api';
import { offences, send } from '@pairwise/api/testing';
import { migrate, openDatabase, type Database } from '@pairwise/database';
import { testDatabase } from '@pairwise/database/testing';
import { startDurable, type Attempt, type Durable } from '@pairwise/durable';
import { PairwiseError } from '@pairwise/errors';
import { parseDevice } from '@pairwise/ort';
import { openClient, startServer, type Client, type RunningServer } from '@pairwise/rpc';
import { openFolder } from '@pairwise/store';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { migrations } from './migrations.ts';
import { trainingService, type TrainingDeps } from './service.ts';
import { newTraining, resolveTrainingSpec } from './start.ts';
import { names, requestFor, tinyPeers } from './testing.ts';
import type { TrainDeps } from './train/deps.ts';
import { openPolicies } from './train/policy.ts';
import { runTraining } from './train/train.ts';
import { openTrainings } from './trainings/trainings.ts';
import { trainWork, trainWorkId } from './work.ts';

// The service and a worker on a real Postgres, over a socket, with the real engine on a model of random weights.

const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: console.error };
let folder: string;
/** A step in which a worker waits until its training is cancelled. */
let held = '';
let [database, durable, deps] = [] as unknown as [Database, Durable, TrainDeps];
let [server, client] = [] as unknown as [RunningServer, Client<typeof TrainingServiceService>];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'pairwise-training-'));
  const blobs = await openFolder(join(folder, 'blobs'));
  const peers = await tinyPeers(blobs, join(folder, 'model'));
  const { url } = await testDatabase();
  database = openDatabase({ url, schema: 'training' });
  await migrate(database, migrations);
  durable = await startDurable({ url, schema: 'training', log: silent });
  const trainings = openTrainings(database);
  const policies = openPolicies(blobs, { device: parseDevice('cpu'), threads: 1 });
  deps = { blobs, trainings, peers, policies };
  durable.execute(trainWork, ({ training }, attempt) => {
    const step: Attempt['step'] = (name, work, options) =>
      attempt.step(
        name,
        async (signal) => {
          if (held === `${training} ${name}` && !signal.aborted) await once(signal, 'abort');
          return work(signal);
        },
        options,
      );
    return runTraining(deps, training, { ...attempt, step });
  });
  await durable.launch({ [trainWork.queue]: 1 });
  const serviceDeps: TrainingDeps = {
    trainings,
    peers,
    numericsProfile: 'test',
    enqueue: ({ training: { name }, attempt }) =>
      durable.enqueue(trainWork, trainWorkId(name, attempt), { training: name }),
    cancel: ({ training: { name }, attempt }, tx) => durable.cancel(trainWorkId(name, attempt), tx),
  };
  server = await startServer({ address: '127.0.0.1:0', log: silent, services: [trainingService(serviceDeps)] });
  client = openClient(TrainingServiceService, server);
});
afterAll(async () => {
  client.close();
  await server.drain();
  await durable.stop();
  await deps.policies.close();
  await database.close();
  rmSync(folder, { recursive: true });
});

/** Follows a training to its end. `seen` gets the metric points on the way. */
async function untilEnded(name: string, seen: (point: MetricPoint, sequence: bigint) => unknown = () => undefined) {
  let last: Training | undefined;
  for await (const { payload, sequence } of client.watchTraining({ name, afterSequence: 0n })) {
    if (payload?.$case === 'training') last = payload.value;
    if (payload?.$case === 'metrics') await seen(payload.value, sequence);
  }
  return last!;
}

const checkpoints = async (parent: string) =>
  (await client.listCheckpoints({ parent, pageSize: 0, pageToken: '' })).checkpoints;

const spec = { duration: { $case: 'maxSteps' as const, value: 8 }, saveSteps: 2, learningRate: 1e-2, batchSize: 4 };
const straight = { name: '', points: [] as MetricPoint[] };

test('a training starts at ln 2, sends every step once and in order, and keeps its last checkpoints', async () => {
  const started = (await client.startTraining(requestFor('straight', spec))).training!;
  straight.name = started.name;
  const sequences: bigint[] = [];
  const ended = await untilEnded(started.name, (point, sequence) => {
    straight.points.push(point);
    sequences.push(sequence);
  });
  expect(ended).toMatchObject({ state: TrainingState.SUCCEEDED, step: 8, stepCount: 8, error: undefined });
  expect(ended.pairCount + ended.evalPairCount).toBe(24);
  expect(sequences).toEqual(sequences.map((_, index) => BigInt(index + 1)));
  const losses = straight.points.flatMap(({ step, values: { loss } }) => (loss === undefined ? [] : [[step, loss]]));
  expect(losses.map(([step]) => step)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  expect(losses[0]![1]).toBeCloseTo(Math.LN2, 5);
  expect(losses.at(-1)![1]).toBeLessThan(0.6);
  expect(straight.points.filter(({ values }) => 'eval_loss' in values).map(({ step }) => step)).toEqual([0, 8]);
  expect((await checkpoints(started.name)).map(({ step }) => step)).toEqual([6, 8]);
  expect(ended.latestCheckpoint).toBe(`${started.name}/checkpoints/checkpoint-8`);

  const rest: number[] = [];
  for await (const { payload } of client.watchTraining({ name: started.name, afterSequence: 7n })) {
    if (payload?.$case === 'metrics') rest.push(payload.value.step);
  }
  expect(rest).toEqual(straight.points.slice(7).map(({ step }) => step));
});

test('a cancelled training keeps its checkpoint and continues to the same bytes and the same metrics', async () => {
  const request = requestFor('interrupted', spec);
  // All eight steps may be quicker than the cancellation.
  held = `${request.parent}/trainings/${request.trainingId} segment 6`;
  const { name } = (await client.startTraining(request)).training!;
  const stopped = await untilEnded(name, async ({ step, values }) => {
    if (step === 3 && 'loss' in values) await client.cancelTraining({ name });
  });
  expect(stopped).toMatchObject({ state: TrainingState.CANCELLED, error: undefined });
  held = '';
  expect((await checkpoints(name)).at(-1)!.step).toBe(4);
  expect((await client.cancelTraining({ name })).training?.state).toBe(TrainingState.CANCELLED);

  expect((await client.startTraining(request)).training?.state).toBe(TrainingState.QUEUED);
  const points: MetricPoint[] = [];
  expect((await untilEnded(name, (point) => points.push(point))).state).toBe(TrainingState.SUCCEEDED);
  const digests = async (of: string) => (await checkpoints(of)).map(({ step, digest }) => [step, digest]);
  expect(await digests(name)).toEqual(await digests(straight.name));
  const figures = (all: MetricPoint[]) => all.map(({ step, epoch, values }) => ({ step, epoch, values }));
  expect(figures(points)).toEqual(figures(straight.points));
});

/** A stored training whose work is not enqueued. */
async function queue(request: StartTrainingRequest) {
  return deps.trainings.ensure(newTraining(request, resolveTrainingSpec(request.spec), 'test'), request);
}

test('a training that is stopped within a segment continues from there', async () => {
  const request = requestFor('within', { ...spec, saveSteps: 100, evalSteps: 2 });
  const { name } = (await queue(request)).training;
  const stopping = new AbortController();
  let writes = 0;
  // While the metrics of the second step are written, which is before its evaluation.
  const fence = () => {
    writes += 1;
    if (writes === 5) stopping.abort(new PairwiseError('CANCELLED', 'it was cancelled'));
    return Promise.resolve();
  };
  const attempt: Attempt = { id: 'within', step: (_name, work) => work(stopping.signal), fence };
  await runTraining(deps, name, attempt);
  expect((await checkpoints(name)).map(({ step }) => step)).toEqual([0, 2]);
  const points: MetricPoint[] = [];
  await client.startTraining(request);
  expect((await untilEnded(name, (point) => points.push(point))).state).toBe(TrainingState.SUCCEEDED);
  expect((await checkpoints(name)).at(-1)!.digest).toBe((await checkpoints(straight.name)).at(-1)!.digest);
  expect(points.filter(({ values }) => 'eval_loss' in values).map(({ step }) => step)).toEqual([0, 2, 4, 6, 8]);
  const losses = (all: MetricPoint[]) => all.flatMap(({ values: { loss } }) => loss ?? []);
  expect(losses(points)).toEqual(losses(straight.points));
});

test('the same request starts the same training, and other inputs are refused', async () => {
  const { training } = await client.getTraining({ name: straight.name });
  expect((await client.startTraining(requestFor('straight', spec))).training).toEqual(training);
  const other = client.startTraining(requestFor('straight', { ...spec, beta: 0.2 }));
  await expect(other).rejects.toMatchObject({ reason: 'ALREADY_EXISTS', field: 'training_id' });
});

test('a worker whose work was given to another one writes nothing', async () => {
  const before = await queue(requestFor('stale', spec));
  const { name } = before.training;
  const stale = new PairwiseError('STALE_ATTEMPT', 'the work belongs to another process');
  for (const ownedUntil of [0, 1, 2, 2]) {
    let writes = 0;
    const fence = () => ((writes += 1) > ownedUntil ? Promise.reject(stale) : Promise.resolve());
    const attempt: Attempt = { id: 'stale', step: (_name, work) => work(new AbortController().signal), fence };
    await expect(runTraining(deps, name, attempt)).rejects.toBe(stale);
  }
  // What it wrote while it owned the work: the start, a checkpoint, an evaluation.
  const { state, step, latestCheckpoint } = (await deps.trainings.get(name)).training;
  expect([before.training.state, state, step]).toEqual([TrainingState.QUEUED, TrainingState.RUNNING, 0]);
  expect(latestCheckpoint).toBe(`${name}/checkpoints/checkpoint-0`);
  expect((await deps.trainings.points(name, 0n, 10)).map(({ point }) => point.step)).toEqual([0]);
});

test('an ended training is deleted with its checkpoints', async () => {
  const { name } = (await client.startTraining(requestFor('deleted', spec))).training!;
  await expect(client.deleteTraining({ name })).rejects.toMatchObject({ reason: 'WRONG_STATE', field: 'name' });
  const { latestCheckpoint } = await untilEnded(name);
  await client.deleteTraining({ name });
  const missing = { reason: 'NOT_FOUND', field: 'name' };
  await expect(client.getTraining({ name })).rejects.toMatchObject(missing);
  await expect(client.getCheckpoint({ name: latestCheckpoint })).rejects.toMatchObject(missing);
  await expect(client.deleteTraining({ name })).rejects.toMatchObject(missing);
  const again = client.startTraining(requestFor('deleted', spec));
  await expect(again).rejects.toMatchObject({ reason: 'ALREADY_EXISTS', field: 'training_id' });
});

const good = {
  startTraining: StartTrainingRequest.toJSON(requestFor('limits', { losses: [{ type: 'sigmoid' }] })) as object,
  watchTraining: { name: `${requestFor('x').parent}/trainings/straight` },
  listCheckpoints: { parent: `${requestFor('x').parent}/trainings/straight` },
};
test.each(offences('TrainingService', good))('$method refuses $field of $value', async (offence) => {
  const refused = send(client, TrainingServiceService, offence);
  await expect(refused).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT', field: offence.field });
});

test.each<[string, string, object]>([
  ['NOT_FOUND', 'model', { model: `${names.model}-none` }],
  ['NOT_FOUND', 'encoding', { encoding: `${names.encoding}-none` }],
  ['NOT_FOUND', 'coverage', { coverage: `${names.coverage}-none` }],
  ['MISSING_LOGPS', 'coverage', { coverage: names.begun }],
  ['INVALID_ARGUMENT', 'parent', { parent: 'default' }],
  ['INVALID_ARGUMENT', 'training_id', { trainingId: 'Not_A_Label' }],
  ['INVALID_ARGUMENT', 'eval_fraction', { evaluation: { $case: 'evalFraction', value: 1 } }],
  [
    'INVALID_ARGUMENT',
    'spec.num_train_epochs',
    {
      encoding: names.endless,
      spec: requestFor('x', { duration: { $case: 'numTrainEpochs', value: 10_000 } }).spec,
    },
  ],
  ['INVALID_ARGUMENT', 'spec.beta', { spec: requestFor('x', { beta: 0 }).spec }],
  [
    'UNKNOWN_FIELD',
    'spec',
    { spec: { ...requestFor('x').spec!, _unknownFields: { 7994: [new Uint8Array([1, 120])] } } },
  ],
])('%s: %s', async (reason, field, change) => {
  const refused = client.startTraining({ ...requestFor('refused'), ...change });
  await expect(refused).rejects.toMatchObject({ reason, field });
  await expect(client.getTraining({ name: `${requestFor('x').parent}/trainings/refused` })).rejects.toThrow();
});
