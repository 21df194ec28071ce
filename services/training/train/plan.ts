import { ActivationCheckpointing, type Training } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { readStoredModel } from '@pairwise/model';
import { plannedBytes } from '@pairwise/rpc';
import type { BlobStore } from '@pairwise/store';
import { microBatchShape, planTraining, type TrainingPlan } from '@pairwise/training';
import type { ResolvedTrainingSpec } from '../trainings/record.ts';
import { storedFile, type PolicyBase } from './policy.ts';
import type { TrainingPairs } from './inputs.ts';

/** The engine's names of what the backward pass recomputes. */
const levels = { [ActivationCheckpointing.CHEAP]: 'cheap', [ActivationCheckpointing.LAYERS]: 'layers' } as const;

type Level = (typeof levels)[keyof typeof levels];

/** What a caller or an earlier plan chose; undefined if nobody has. */
export function levelOf(choice: ActivationCheckpointing): Level | undefined {
  return levels[choice as keyof typeof levels];
}

/** The choice of a plan. */
export function choiceOf({ activationCheckpointing }: Pick<TrainingPlan, 'activationCheckpointing'>) {
  return activationCheckpointing === 'layers' ? ActivationCheckpointing.LAYERS : ActivationCheckpointing.CHEAP;
}

/**
 * Plans how a worker with this much memory trains on these pairs. What the spec says, or an earlier plan has pinned, is kept.
 * Throws OUT_OF_MEMORY.
 */
export async function planOnWorker(
  blobs: BlobStore,
  { files, quantized }: PolicyBase,
  spec: ResolvedTrainingSpec,
  { pairs, evalPairs }: TrainingPairs,
  availableBytes: number | undefined,
): Promise<TrainingPlan> {
  const layers = quantized === undefined ? undefined : storedFile(quantized);
  return planTraining(await readStoredModel(files.map(storedFile), blobs, layers), {
    hyperparameters: spec,
    activationCheckpointing: levelOf(spec.activationCheckpointing),
    shapeOf: (rowLimit) => microBatchShape([...pairs, ...evalPairs], rowLimit),
    evaluates: evalPairs.length > 0,
    availableBytes,
  });
}

/** Refuses a training that was planned on a worker with more memory than this one has. Throws OUT_OF_MEMORY. */
export function checkFits({ name, memory }: Training, availableBytes = Infinity): void {
  if (memory === undefined || plannedBytes(memory) <= availableBytes) return;
  const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(1)} GB`;
  const needed = gigabytes(Number(plannedBytes(memory)));
  const message = `'${name}' was planned to take ${needed}, but this worker has ${gigabytes(availableBytes)}`;
  throw new PairwiseError('OUT_OF_MEMORY', `${message}; give all training workers the same memory`);
}
