import { setTimeout as sleep } from 'node:timers/promises';
import {
  ActivationCheckpointing,
  BaseQuantization,
  TrainingState,
  type MetricPoint,
  type TrainingServiceService,
} from '@pairwise/api';
import { Declined, type Attempt } from '@pairwise/durable';
import { PairwiseError } from '@pairwise/errors';
import type { Session } from '@pairwise/ort';
import type { Client } from '@pairwise/rpc';
import type { BlobStore } from '@pairwise/store';
import { trainingOperations } from '@pairwise/training';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { names, requestFor } from '../testing.peers.ts';
import { startTestTraining, type TestTraining } from '../testing.ts';
import { openTrainingPairs } from './inputs.ts';
import type { Policies } from './policy.ts';
import { runTraining } from './train.ts';

let service: TestTraining;
let client: Client<typeof TrainingServiceService>;

beforeAll(async () => {
  service = await startTestTraining();
  ({ client } = service);
});
afterAll(() => service.stop());

const spec = { duration: { $case: 'maxSteps' as const, value: 8 }, saveSteps: 2, learningRate: 1e-2, batchSize: 4 };
const layers = ActivationCheckpointing.LAYERS;
const fence = () => Promise.resolve();
const straight = { name: '', points: [] as MetricPoint[] };

test('a training starts at ln 2, sends every step once and in order, and keeps its last checkpoints', async () => {
  const started = (await client.startTraining(requestFor('straight', spec))).training!;
  straight.name = started.name;
  const sequences: bigint[] = [];
  const ended = await service.untilEnded(started.name, (point, sequence) => {
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
  expect((await service.checkpoints(started.name)).map(({ step }) => step)).toEqual([6, 8]);
  expect(ended.latestCheckpoint).toBe(`${started.name}/checkpoints/checkpoint-8`);

  const rest: number[] = [];
  for await (const { payload } of client.watchTraining({ name: started.name, afterSequence: 7n })) {
    if (payload?.$case === 'metrics') rest.push(payload.value.step);
  }
  expect(rest).toEqual(straight.points.slice(7).map(({ step }) => step));
});

test.each([
  ['its own', names.int8, (loss: number) => expect(loss).toBeCloseTo(Math.LN2, 5)],
  ['the full', names.coverage, (loss: number) => expect(Math.abs(loss - Math.LN2)).toBeGreaterThan(1e-4)],
])('a policy in int8 is trained against %s weights as its reference', async (_, coverage, expectFirst) => {
  const id = coverage.split('/').at(-1)!;
  const request = requestFor(`int8-${id}`, { ...spec, baseQuantization: BaseQuantization.INT8 });
  const { name, resolvedSpec } = (await client.startTraining({ ...request, coverage })).training!;
  expect(resolvedSpec!.baseQuantization).toBe(BaseQuantization.INT8);
  const losses: number[] = [];
  const ended = await service.untilEnded(name, ({ values: { loss } }) => {
    if (loss !== undefined) losses.push(loss);
  });
  expect(ended).toMatchObject({ state: TrainingState.SUCCEEDED, error: undefined });
  expectFirst(losses[0]!);
  expect(losses.at(-1)).toBeLessThan(0.6);
});

test('a cancelled training keeps its checkpoint and continues to the same bytes and the same metrics', async () => {
  const request = requestFor('interrupted', spec);
  // All eight steps may be quicker than the cancellation.
  service.held = `${request.parent}/trainings/${request.trainingId} segment 6`;
  const { name } = (await client.startTraining(request)).training!;
  const stopped = await service.untilEnded(name, async ({ step, values }) => {
    if (step === 3 && 'loss' in values) await client.cancelTraining({ name, requestId: 'stop' });
  });
  expect(stopped).toMatchObject({ state: TrainingState.CANCELLED, error: undefined });
  service.held = '';
  expect((await service.checkpoints(name)).at(-1)!.step).toBe(4);
  expect((await client.cancelTraining({ name, requestId: '' })).training?.state).toBe(TrainingState.CANCELLED);

  expect((await client.startTraining(request)).training?.state).toBe(TrainingState.QUEUED);
  // A late repetition of the call that cancelled it.
  await client.cancelTraining({ name, requestId: 'stop' });
  const points: MetricPoint[] = [];
  expect((await service.untilEnded(name, (point) => points.push(point))).state).toBe(TrainingState.SUCCEEDED);
  const digests = async (of: string) => (await service.checkpoints(of)).map(({ step, digest }) => [step, digest]);
  expect(await digests(name)).toEqual(await digests(straight.name));
  const figures = (all: MetricPoint[]) => all.map(({ step, epoch, values }) => ({ step, epoch, values }));
  expect(figures(points)).toEqual(figures(straight.points));
});

test('a training that is stopped within a segment continues from there', async () => {
  const request = requestFor('within', { ...spec, saveSteps: 100, evalSteps: 2 });
  const { name } = (await service.queue(request)).training;
  const stopping = new AbortController();
  let writes = 0;
  // While the metrics of the second step are written, which is before its evaluation.
  const fence = () => {
    writes += 1;
    if (writes === 5) stopping.abort(new PairwiseError('CANCELLED', 'it was cancelled'));
    return Promise.resolve();
  };
  const attempt: Attempt = { id: 'within', activity: (_name, work) => work(stopping.signal), fence };
  await runTraining(service.deps, name, attempt);
  expect((await service.checkpoints(name)).map(({ step }) => step)).toEqual([0, 2]);
  const points: MetricPoint[] = [];
  await client.startTraining(request);
  expect((await service.untilEnded(name, (point) => points.push(point))).state).toBe(TrainingState.SUCCEEDED);
  expect((await service.checkpoints(name)).at(-1)!.digest).toBe(
    (await service.checkpoints(straight.name)).at(-1)!.digest,
  );
  expect(points.filter(({ values }) => 'eval_loss' in values).map(({ step }) => step)).toEqual([0, 2, 4, 6, 8]);
  const losses = (all: MetricPoint[]) => all.flatMap(({ values: { loss } }) => loss ?? []);
  expect(losses(points)).toEqual(losses(straight.points));
});

test('a worker whose work was given to another one writes nothing', async () => {
  const before = await service.queue(requestFor('stale', spec));
  const { name } = before.training;
  const stale = new PairwiseError('STALE_ATTEMPT', 'the work belongs to another process');
  for (const ownedUntil of [0, 1, 2, 2]) {
    let writes = 0;
    const fence = () => ((writes += 1) > ownedUntil ? Promise.reject(stale) : Promise.resolve());
    const attempt: Attempt = { id: 'stale', activity: (_name, work) => work(new AbortController().signal), fence };
    await expect(runTraining(service.deps, name, attempt)).rejects.toBe(stale);
  }
  // What it wrote while it owned the work: the start, a checkpoint, an evaluation.
  const { state, step, latestCheckpoint } = (await service.deps.trainings.get(name)).training;
  expect([before.training.state, state, step]).toEqual([TrainingState.QUEUED, TrainingState.RUNNING, 0]);
  expect(latestCheckpoint).toBe(`${name}/checkpoints/checkpoint-0`);
  expect((await service.deps.trainings.points(name, 0n, 10)).map(({ point }) => point.step)).toEqual([0]);
});

test('the pairs are read from the store once, not in every segment, until another training is opened', async () => {
  const { encoding } = await service.deps.peers.dataset.getEncoding({ name: names.encoding });
  const shards: readonly string[] = encoding!.shardDigests;
  let reads = 0;
  const get: BlobStore['get'] = (digest) => {
    if (shards.includes(digest)) reads += 1;
    return service.deps.blobs.get(digest);
  };
  const blobs = { ...service.deps.blobs, get };
  const deps = { ...service.deps, blobs, openPairs: openTrainingPairs(blobs) };
  /** Trains for three segments. Returns the activities that read a shard. */
  const train = async (trainingId: string, evalFraction: number) => {
    const evaluation = { $case: 'evalFraction' as const, value: evalFraction };
    const steps = { duration: { $case: 'maxSteps' as const, value: 3 }, saveSteps: 1 };
    const { name } = (await service.queue({ ...requestFor(trainingId, { ...spec, ...steps }), evaluation })).training;
    const reading: string[] = [];
    const activities: string[] = [];
    const activity: Attempt['activity'] = async (activityName, work) => {
      const before = reads;
      const result = await work(new AbortController().signal);
      activities.push(activityName);
      if (reads > before) reading.push(activityName);
      return result;
    };
    await runTraining(deps, name, { id: trainingId, activity, fence: () => Promise.resolve() });
    expect(activities).toEqual(['prepare', 'begin', 'segment 1', 'segment 2', 'segment 3', 'succeed']);
    return reading;
  };
  // The worker that begins may be another one, and then reads them again.
  expect(await train('read-once', 0)).toEqual(['prepare']);
  expect(await train('read-again', 0.5)).toEqual(['prepare']);
  expect(await train('read-back', 0)).toEqual(['prepare']);
});

test('each checkpoint takes the rate of its steps into account, without the first step after the policy was opened', async () => {
  let operations = 0;
  let seconds = 0;
  const open: Policies['open'] = async (files, settings) => {
    const policy = await service.deps.policies.open(files, settings);
    const run: Session['run'] = async (feeds) => {
      const startMs = performance.now();
      const size = { rows: feeds['tokens']!.dims[0]!, targets: feeds['targets']!.dims[0]! };
      operations = trainingOperations(policy.config, settings.tuning.value, size, 'cheap');
      // Shorter work is not measured.
      await sleep(1050);
      const results = await policy.training.run(feeds);
      seconds = (performance.now() - startMs) / 1000;
      return results;
    };
    return { ...policy, training: { ...policy.training, run } };
  };
  const numericsProfile = 'slow/any/onnxruntime/float32';
  const deps = { ...service.deps, policies: { ...service.deps.policies, open }, numericsProfile };
  const rates: (number | undefined)[] = [];
  const activity: Attempt['activity'] = async (_name, work) => {
    const result = await work(new AbortController().signal);
    rates.push(await deps.rates.of(numericsProfile));
    return result;
  };
  const steps = { duration: { $case: 'maxSteps' as const, value: 2 }, saveSteps: 1 };
  const tuning = { $case: 'lora' as const, value: { r: 3 } };
  const { name } = (await service.queue(requestFor('measured', { ...spec, ...steps, tuning }))).training;
  const startMs = performance.now();
  await runTraining(deps, name, { id: 'measured', activity, fence: () => Promise.resolve() });
  const [prepared, begun, first, second] = rates;
  expect([prepared, begun, first]).toEqual([undefined, undefined, undefined]);
  // A batch of four pairs is one micro-batch. Its step took at least as long as its run, and at most as long as everything.
  expect(second).toBeLessThanOrEqual(operations / seconds);
  expect(second).toBeGreaterThan(operations / ((performance.now() - startMs) / 1000));
});

test('the worker pins how it trains, and recomputing whole layers gives the same bytes', async () => {
  const name = (await client.startTraining(requestFor('layers', { ...spec, activationCheckpointing: layers })))
    .training!.name;
  const ended = await service.untilEnded(name);
  expect(ended).toMatchObject({ state: TrainingState.SUCCEEDED, resolvedSpec: { microBatchRows: 1024 } });
  expect(ended.resolvedSpec!.activationCheckpointing).toBe(layers);
  const { resolvedSpec, memory } = (await client.getTraining({ name: straight.name })).training!;
  expect(resolvedSpec).toMatchObject({ activationCheckpointing: ActivationCheckpointing.CHEAP, microBatchRows: 1024 });
  expect(memory!.activationBytes).toBeGreaterThan(ended.memory!.activationBytes);
  expect(memory!.measuredBytes).toBeGreaterThan(50_000_000n);
  const last = async (of: string) => (await service.checkpoints(of)).at(-1)!.adapterDigest;
  expect(await last(name)).toBe(await last(straight.name));
});

test('a training that does not fit into the memory of its worker fails before it opens the model', async () => {
  const { name } = (await service.queue(requestFor('large', spec))).training;
  const attempt: Attempt = { id: 'large', activity: (_name, work) => work(new AbortController().signal), fence };
  const open: Policies['open'] = () => Promise.reject(new Error('the model was opened'));
  const deps = { ...service.deps, availableBytes: 100e6, policies: { ...service.deps.policies, open } };
  await runTraining(deps, name, attempt);
  const { state, error } = (await service.deps.trainings.get(name)).training;
  expect(state).toBe(TrainingState.FAILED);
  expect(error!.message).toMatch(
    /a training worker needs 0\.\d+ GB \(.*\), but may use only 90 % of its 0\.10 GB; set base_quantization/,
  );
});

/** Runs activities until one fails, after which all fail like it: in a declined attempt no further activity runs. */
function untilFailure(run: Attempt['activity']): Attempt['activity'] {
  const failures: unknown[] = [];
  return async (name, work, options) => {
    if (failures.length > 0) throw failures[0];
    return run(name, work, options).catch((error: unknown) => {
      failures.push(error);
      throw error;
    });
  };
}

const runAtOnce: Attempt['activity'] = (_name, work) => work(new AbortController().signal);

test('a training that does not fit into the memory of its worker is left to a larger one that is alive', async () => {
  const { name } = (await service.queue(requestFor('larger', spec))).training;
  const workers = () => Promise.resolve([{ id: 'large', about: { memoryBytes: '1e12' } }]);
  const deps = { ...service.deps, availableBytes: 100e6, workers };
  const attempt: Attempt = { id: 'larger', activity: untilFailure(runAtOnce), fence };
  await expect(runTraining(deps, name, attempt)).rejects.toBeInstanceOf(Declined);
  expect((await service.deps.trainings.get(name)).training.state).toBe(TrainingState.QUEUED);
});

test('a worker with less memory than the one that planned a training leaves it to others', async () => {
  const { name } = (await service.queue(requestFor('moved', spec))).training;
  const died = new PairwiseError('STALE_ATTEMPT', 'the worker died');
  let prepared: unknown;
  const dying: Attempt['activity'] = async (at, work, options) => {
    if (at !== 'prepare') throw died;
    prepared = await runAtOnce(at, work, options);
    return prepared as never;
  };
  await expect(runTraining(service.deps, name, { id: 'moved', activity: dying, fence })).rejects.toBe(died);
  const resumed: Attempt['activity'] = (at, work, options) =>
    at === 'prepare' ? Promise.resolve(prepared as never) : runAtOnce(at, work, options);
  const run = (availableBytes: number) =>
    runTraining({ ...service.deps, availableBytes }, name, { id: 'moved', activity: untilFailure(resumed), fence });
  await expect(run(100e6)).rejects.toThrow(/was planned to take 0\.\d GB, but this process has 0\.1 GB/);
  await run(1e12);
  expect((await service.deps.trainings.get(name)).training.state).toBe(TrainingState.SUCCEEDED);
});
