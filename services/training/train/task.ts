import { Checkpoint, MetricPoint, type WorkerMemory } from '@pairwise/api';
import { declineUnlessFits } from '@pairwise/durable';
import { digestOf, parseDigest } from '@pairwise/fingerprint';
import { plannedBytes } from '@pairwise/rpc';
import { writeSafetensors } from '@pairwise/safetensors';
import {
  adapterTensors,
  dpoBatches,
  packState,
  stepCount,
  unpackState,
  type DpoTask,
  type Metrics,
  type OptimizerState,
  type TrainingPair,
} from '@pairwise/training';
import type { Split } from '../trainings/points.ts';
import { heldOutFraction, resolvedTrainingSpec } from '../trainings/record.ts';
import type { BaseInputs } from './base.ts';
import type { TrainDeps } from './deps.ts';
import type { TrainingInputs } from './inputs.ts';
import { logMetrics } from './log.ts';
import type { OwnedTraining } from './owned.ts';
import type { PeakMemory } from './peak.ts';
import { levelOf } from './plan.ts';
import type { OpenPolicy } from './policy.ts';

/** The step that a training has reached: an activity's result. */
export interface Reached {
  step: number;
}

/** A training that is ready to continue: its pairs are in memory and its policy is on the accelerator. */
export interface Task {
  dpo: DpoTask;
  /** The pairs of an optimizer step; steps count from 0. */
  batchOf: (step: number) => TrainingPair[];
  policy: OpenPolicy;
  /** The training's, which is that of its reference logps. */
  numericsProfile: string;
  evalPairs: readonly TrainingPair[];
  /** Whether the policy starts with other weights than its reference. */
  referenceDiffers: boolean;
  /** Optimizer steps of the whole training. */
  total: number;
  /** The state of the last checkpoint. */
  load(): Promise<OptimizerState>;
  /** Saves a state as a checkpoint, and the rate that the policy has been trained at since the last one. */
  save(state: OptimizerState): Promise<Reached>;
  /** Whether a step has metrics of a split. */
  hasMetrics(split: Split, step: number): Promise<boolean>;
  /** Stores the metrics of a step at once, so that watchers see them; a repeated segment stores none twice. */
  recordMetrics(split: Split, step: number, values: Metrics): Promise<void>;
}

/** Opens the policy of a training and reads its pairs. */
export async function openTask(
  deps: TrainDeps,
  owned: OwnedTraining,
  inputs: TrainingInputs & BaseInputs,
): Promise<Task> {
  const { request, training } = await owned.read();
  const hyperparameters = resolvedTrainingSpec(training);
  const { memory } = training;
  if (memory !== undefined) declineUnlessFits(Number(plannedBytes(memory)), deps.availableBytes);
  const level = levelOf(hyperparameters.activationCheckpointing);
  const policy = await deps.policies.open(inputs, hyperparameters, level);
  const { pairs, evalPairs } = await deps.openPairs(inputs, heldOutFraction(request));
  const { config, layout } = policy;
  const { microBatchRows } = hyperparameters;
  // A training that is older than the field has none, and was started with the engine's default.
  const dpo: DpoTask = { config, layout, pairs, hyperparameters, ...(microBatchRows && { rowLimit: microBatchRows }) };
  return {
    dpo,
    batchOf: dpoBatches(dpo),
    policy,
    numericsProfile: training.numericsProfile,
    evalPairs,
    referenceDiffers: inputs.referenceDiffers ?? false,
    total: stepCount(pairs.length, hyperparameters),
    load: async () => {
      const { latestCheckpoint } = (await owned.read()).training;
      const { digest } = await owned.checkpoint(latestCheckpoint);
      return unpackState(await deps.blobs.get(parseDigest(digest)), layout);
    },
    save: (state) => saveCheckpoint(deps, owned, dpo, { state, rate: policy.meter.take() }),
    hasMetrics: (split, step) => deps.trainings.hasPoint(owned.name, split, step),
    recordMetrics: (split, step, values) => recordMetrics(deps, owned, dpo, { split, step, values }),
  };
}

async function saveCheckpoint(
  { blobs, trainings, rates, numericsProfile, peak }: TrainDeps,
  { name, change }: OwnedTraining,
  { layout, hyperparameters }: DpoTask,
  { state, rate }: { state: OptimizerState; rate: number | undefined },
): Promise<Reached> {
  const { digest, sizeBytes } = await blobs.put(packState(state));
  const adapterDigest = digestOf(writeSafetensors(adapterTensors(layout, state.parameters)));
  await change(async ({ training, request }, tx) => {
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
    if (rate !== undefined) await rates.add(tx, numericsProfile, rate);
    training.latestCheckpoint = checkpoint.name;
    if (training.memory !== undefined) training.memory = withPeak(training.memory, peak.memory());
    return 'changed' as const;
  });
  return { step: state.step };
}

/** The mapped pages of Node, the runtime and the libraries, at most. */
const programBytes = 100e6;

/** The memory of a training after its worker has had a peak. Sessions share the pages of the weights, which count once. */
function withPeak(memory: WorkerMemory, { anonymousBytes, mappedBytes }: PeakMemory): WorkerMemory {
  const mapped = Math.min(mappedBytes, Number(memory.weightBytes) + programBytes);
  const measuredBytes = BigInt(anonymousBytes + mapped);
  return measuredBytes > memory.measuredBytes ? { ...memory, measuredBytes } : memory;
}

async function recordMetrics(
  { trainings }: TrainDeps,
  { name, change }: OwnedTraining,
  { pairs, hyperparameters }: DpoTask,
  { split, step, values }: { split: Split; step: number; values: Metrics },
): Promise<void> {
  // Counted in steps, not pairs, since the last batch of an epoch may be smaller.
  const epoch = step / Math.ceil(pairs.length / hyperparameters.batchSize);
  const point = MetricPoint.create({ step, epoch, time: new Date(), values });
  await change(async ({ training }, tx) => {
    await trainings.addPoint(tx, name, split, point);
    training.step = Math.max(training.step, step);
    return 'changed' as const;
  });
  logMetrics(split, values);
}
