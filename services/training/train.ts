import { Checkpoint, MetricPoint, TrainingState, type TrainingSpec } from '@pairwise/api';
import type { Attempt } from '@pairwise/durable';
import { PairwiseError } from '@pairwise/errors';
import { digestOf, type Digest } from '@pairwise/fingerprint';
import { initialLora } from '@pairwise/model';
import { writeSafetensors } from '@pairwise/safetensors';
import type { BlobStore } from '@pairwise/store';
import { count, record as measure } from '@pairwise/telemetry';
import {
  adapterTensors,
  dpoStepOn,
  evaluateDpo,
  initialState,
  nextBatch,
  packState,
  resolveHyperparameters,
  startLoss,
  stepCount,
  tokenCount,
  uniformStream,
  unpackState,
  type DpoTask,
  type Hyperparameters,
  type Metrics,
  type Objective,
  type OptimizerState,
  type TrainingPair,
} from '@pairwise/training';
import { fractionOf, gatherInputs, readPairs, type TrainingInputs } from './inputs.ts';
import type { Peers } from './peers.ts';
import type { OpenPolicy, Policies } from './policy.ts';
import { tell } from './tell.ts';
import { hasEnded, type Trainings } from './trainings.ts';

/** What a worker trains with. */
export interface Trainer {
  blobs: BlobStore;
  trainings: Trainings;
  peers: Peers;
  policies: Policies;
}

/** How far the first loss may be from what it is if policy and reference are the same model, in nats, for weight 1. */
const firstLossTolerance = 1e-3;

/**
 * Trains in segments, each a durable step from one checkpoint to the next. A segment is a function of its checkpoint and
 * the training's inputs, so one that is begun again after a crash gives the same bytes. One that is stopped saves a
 * checkpoint where it is, and whoever takes it up begins there.
 */
export async function train(trainer: Trainer, name: string, attempt: Attempt): Promise<void> {
  const { trainings } = trainer;
  const end = async (state: TrainingState, error?: unknown) => {
    await trainings.end(name, state, error, attempt.fence);
  };
  try {
    const { inputs, total, saveSteps } = await attempt.step('prepare', (signal) =>
      prepare(trainer, name, attempt, signal),
    );
    let { step } = await attempt.step('begin', () => begin(trainer, name, inputs, attempt));
    while (step < total) {
      const to = Math.min(total, step - (step % saveSteps) + saveSteps);
      ({ step } = await attempt.step(`segment ${to}`, (signal) => segment(trainer, name, inputs, to, attempt, signal)));
    }
    await attempt.step('succeed', () => end(TrainingState.SUCCEEDED));
  } catch (error) {
    const cancelled = error instanceof PairwiseError && error.reason === 'CANCELLED';
    const state = cancelled ? TrainingState.CANCELLED : TrainingState.FAILED;
    const cause = cancelled ? undefined : error;
    await attempt.step('fail', () => end(state, cause), { evenIfCancelled: true });
  }
}

/** How far a training is. */
interface Reached {
  step: number;
}

export function hyperparametersOf(spec: TrainingSpec | undefined): Hyperparameters {
  return resolveHyperparameters(spec ?? {}, 'spec');
}

async function prepare({ blobs, trainings, peers }: Trainer, name: string, attempt: Attempt, signal: AbortSignal) {
  const { request, training } = await trainings.get(name);
  const inputs = await gatherInputs(blobs, peers, request, signal);
  const hyperparameters = hyperparametersOf(training.resolvedSpec);
  const total = stepCount(inputs.pairCount, hyperparameters);
  await trainings.change(name, async (record, tx) => {
    await attempt.fence(tx);
    if (hasEnded(record.training)) return false;
    if (record.training.state === TrainingState.QUEUED) record.training.state = TrainingState.RUNNING;
    record.training.stepCount = total;
    record.training.pairCount = inputs.pairCount;
    record.training.evalPairCount = inputs.evalPairCount;
    record.training.updateTime = new Date();
    return true;
  });
  return { inputs, total, saveSteps: hyperparameters.saveSteps };
}

/** What every segment works with. */
async function openTask(trainer: Trainer, name: string, inputs: TrainingInputs) {
  const { request, training } = await trainer.trainings.get(name);
  const hyperparameters = hyperparametersOf(training.resolvedSpec);
  const policy = await trainer.policies.open(inputs.files, hyperparameters);
  const { pairs, evalPairs } = await readPairs(trainer.blobs, inputs, fractionOf(request));
  const task: DpoTask = { config: policy.config, layout: policy.layout, pairs, hyperparameters };
  return { task, policy, evalPairs };
}

/** The last checkpoint of an earlier attempt, or a new adapter, saved as checkpoint 0. */
async function begin(trainer: Trainer, name: string, inputs: TrainingInputs, attempt: Attempt): Promise<Reached> {
  const saved = await lastCheckpoint(trainer, name);
  if (saved !== undefined) return { step: saved.step };
  const { task, policy } = await openTask(trainer, name, inputs);
  const state = initialState(initialLora(policy.layout, uniformStream(task.hyperparameters.seed, 'lora')));
  return save(trainer, name, policy, task, state, attempt);
}

async function lastCheckpoint({ trainings }: Trainer, name: string): Promise<Checkpoint | undefined> {
  const { training } = await trainings.get(name);
  return training.latestCheckpoint === '' ? undefined : trainings.checkpoint(training.latestCheckpoint);
}

/** Optimizer steps from the last checkpoint to the step `to`, with the evaluations on the way. */
async function segment(
  trainer: Trainer,
  name: string,
  inputs: TrainingInputs,
  to: number,
  attempt: Attempt,
  signal: AbortSignal,
): Promise<Reached> {
  const { task, policy, evalPairs } = await openTask(trainer, name, inputs);
  const start = (await lastCheckpoint(trainer, name))!;
  const state = unpackState(await trainer.blobs.get(start.digest as Digest), policy.layout);
  const record = recorder(trainer, name, task, attempt);
  const { loggingSteps, evalSteps } = task.hyperparameters;
  const total = stepCount(task.pairs.length, task.hyperparameters);
  const isEvaluated = (step: number) => step === 0 || step === total || (evalSteps > 0 && step % evalSteps === 0);
  // The last step of which all is recorded but its evaluation.
  let { step: whole } = start;
  try {
    for (;;) {
      if (isEvaluated(whole) && !(await trainer.trainings.hasPoint(name, 'eval', whole))) {
        await evaluate(policy, task, state, evalPairs, record, signal);
      }
      if (whole >= to) break;
      const batch = nextBatch(task, state);
      const began = performance.now();
      const metrics = await dpoStepOn(policy.training.run, task, state, batch, () => signal.throwIfAborted());
      measure('pairwise.training.step.duration', (performance.now() - began) / 1000, {});
      count('pairwise.tokens', tokenCount(batch), { 'pairwise.activity': 'train' });
      if (state.step === 1) checkFirstLoss(metrics, task.hyperparameters);
      if (state.step % loggingSteps === 0 || state.step === total) await record('train', state.step, metrics);
      whole = state.step;
    }
  } catch (error) {
    const saves = signal.aborted && state.step === whole && whole > start.step;
    if (saves) await save(trainer, name, policy, task, state, attempt);
    throw error;
  }
  return save(trainer, name, policy, task, state, attempt);
}

/**
 * Checks that the first loss is that of a policy which equals the reference: ln 2 for sigmoid. Any other means that the
 * reference logps belong to another model or were computed differently. Throws VERIFICATION_FAILED.
 */
export function checkFirstLoss({ loss = NaN }: Metrics, objective: Objective): void {
  const [{ weight }] = objective.losses;
  const expected = startLoss(objective);
  if (Math.abs(loss - expected) <= firstLossTolerance * weight) return;
  const message = `the first loss is ${loss}, not ${expected}: the reference logps do not belong to this model`;
  throw new PairwiseError('VERIFICATION_FAILED', message);
}

type Recorder = (kind: 'train' | 'eval', step: number, metrics: Metrics) => Promise<void>;

async function evaluate(
  policy: OpenPolicy,
  task: DpoTask,
  state: OptimizerState,
  pairs: readonly TrainingPair[],
  record: Recorder,
  signal: AbortSignal,
): Promise<void> {
  if (pairs.length === 0) return;
  const between = () => signal.throwIfAborted();
  const metrics = await evaluateDpo(policy.evaluation.run, task, state.parameters, pairs, between);
  count('pairwise.tokens', tokenCount(pairs), { 'pairwise.activity': 'evaluate' });
  await record('eval', state.step, metrics);
}

/** Writes metric points as they come, so that a watch sees them at once; a repeated segment writes none twice. */
function recorder(
  { trainings }: Trainer,
  name: string,
  { pairs, hyperparameters }: DpoTask,
  attempt: Attempt,
): Recorder {
  return async (kind, step, values) => {
    // Steps, not pairs: the last batch of an epoch may be smaller.
    const epoch = step / Math.ceil(pairs.length / hyperparameters.batchSize);
    const point = MetricPoint.create({ step, epoch, time: new Date(), values });
    await trainings.change(name, async ({ training }, tx) => {
      await attempt.fence(tx);
      await trainings.addPoint(tx, name, kind, point);
      training.step = Math.max(training.step, step);
      training.updateTime = new Date();
      return true;
    });
    tell(kind, values);
  };
}

async function save(
  { blobs, trainings }: Trainer,
  name: string,
  { layout }: OpenPolicy,
  { hyperparameters }: DpoTask,
  state: OptimizerState,
  attempt: Attempt,
): Promise<Reached> {
  const { digest, sizeBytes } = await blobs.put(packState(state));
  const adapterDigest = digestOf(writeSafetensors(adapterTensors(layout, state.parameters)));
  await trainings.change(name, async ({ training, request }, tx) => {
    await attempt.fence(tx);
    const checkpoint = Checkpoint.create({
      name: `${name}/checkpoints/checkpoint-${state.step}`,
      step: state.step,
      digest,
      sizeBytes: BigInt(sizeBytes),
      adapterDigest,
      model: request.model,
      lora: hyperparameters.tuning.value,
      encoding: request.encoding,
      createTime: new Date(),
    });
    await trainings.addCheckpoint(tx, name, checkpoint, hyperparameters.saveTotalLimit);
    training.latestCheckpoint = checkpoint.name;
    training.updateTime = new Date();
    return true;
  });
  return { step: state.step };
}
