import { TrainingState } from '@pairwise/api';
import type { Attempt } from '@pairwise/durable';
import { PairwiseError } from '@pairwise/errors';
import { initialLora } from '@pairwise/model';
import { hasEnded, workerMemory } from '@pairwise/rpc';
import { initialState, stepCount, uniformStream } from '@pairwise/training';
import { heldOutFraction, resolvedTrainingSpec } from '../trainings/record.ts';
import { gatherBase } from './base.ts';
import type { TrainDeps } from './deps.ts';
import { gatherInputs } from './inputs.ts';
import { ownTraining, type OwnedTraining } from './owned.ts';
import { trainSegment } from './segment.ts';
import { choiceOf, planOnWorker } from './plan.ts';
import { openTask, type Reached, type Task } from './task.ts';

/**
 * Trains in segments, each an activity that leads from one checkpoint to the next:
 * prepare -> begin (checkpoint 0) -> segment, segment, ... -> succeed, or fail.
 * A segment depends only on its checkpoint and the training's inputs, so a segment that is repeated after a crash gives
 * the same bytes. A segment that is stopped saves a checkpoint where it is, and the next attempt continues there.
 */
export async function runTraining(deps: TrainDeps, name: string, attempt: Attempt): Promise<void> {
  const training = ownTraining(deps.trainings, name, attempt);
  try {
    const { inputs, total, saveSteps } = await attempt.activity('prepare', (signal) => prepare(deps, training, signal));
    const open = () => openTask(deps, training, inputs);
    let { step } = await attempt.activity('begin', () => begin(training, open));
    while (step < total) {
      const to = Math.min(total, step - (step % saveSteps) + saveSteps);
      ({ step } = await attempt.activity(`segment ${to}`, async (signal) => trainSegment(await open(), to, signal)));
    }
    await attempt.activity('succeed', () => training.end(TrainingState.SUCCEEDED));
  } catch (error) {
    const cancelled = error instanceof PairwiseError && error.reason === 'CANCELLED';
    const end = () => (cancelled ? training.end(TrainingState.CANCELLED) : training.end(TrainingState.FAILED, error));
    await attempt.activity('fail', end, { evenIfCancelled: true });
  }
}

/** Gathers the inputs, plans the memory, and stores both with how much there is to do. */
async function prepare(deps: TrainDeps, { read, change }: OwnedTraining, signal: AbortSignal) {
  const { availableBytes } = deps;
  deps.peak.reset();
  const { request, training } = await read();
  const hyperparameters = resolvedTrainingSpec(training);
  const base = await gatherBase(deps.peers, request, hyperparameters, signal);
  const inputs = { ...(await gatherInputs(deps, request, signal)), ...base };
  const total = stepCount(inputs.pairCount, hyperparameters);
  const pairs = await deps.openPairs(inputs, heldOutFraction(request));
  const plan = await planOnWorker(deps, inputs, hyperparameters, pairs);
  await change((record) => {
    if (hasEnded(TrainingState, record.training)) return 'unchanged';
    if (record.training.state === TrainingState.QUEUED) record.training.state = TrainingState.RUNNING;
    record.training.stepCount = total;
    const { microBatchRows } = plan;
    record.training.resolvedSpec = {
      ...resolvedTrainingSpec(record.training),
      activationCheckpointing: choiceOf(plan),
      microBatchRows,
    };
    record.training.memory = workerMemory(plan.memory, availableBytes);
    record.training.pairCount = inputs.pairCount;
    record.training.evalPairCount = inputs.evalPairCount;
    return 'changed';
  });
  return { inputs, total, saveSteps: hyperparameters.saveSteps };
}

/** Continues at the last checkpoint of an earlier attempt, or saves a new adapter as checkpoint 0. */
async function begin(training: OwnedTraining, open: () => Promise<Task>): Promise<Reached> {
  const { latestCheckpoint } = (await training.read()).training;
  if (latestCheckpoint !== '') return { step: (await training.checkpoint(latestCheckpoint)).step };
  const task = await open();
  const { layout, hyperparameters } = task.dpo;
  return task.save(initialState(initialLora(layout, uniformStream(hyperparameters.seed, 'lora'))));
}
