import { ActivationCheckpointing } from '@pairwise/api';
import { Declined, mostMemoryBytes } from '@pairwise/durable';
import { PairwiseError } from '@pairwise/errors';
import { readStoredModel } from '@pairwise/model';
import { microBatchShape, planTraining, type TrainingPlan } from '@pairwise/training';
import type { ResolvedTrainingSpec } from '../trainings/record.ts';
import type { TrainDeps } from './deps.ts';
import type { TrainingPairs } from './inputs.ts';
import { storedFile, type PolicyBase } from './policy.ts';

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
 * Plans how this worker trains on these pairs. What the spec says, or an earlier plan has pinned, is kept. Throws OUT_OF_MEMORY,
 * or `Declined` if another worker has more memory.
 */
export async function planOnWorker(
  { blobs, availableBytes, workers }: Pick<TrainDeps, 'blobs' | 'availableBytes' | 'workers'>,
  { files, quantized }: PolicyBase,
  spec: ResolvedTrainingSpec,
  { pairs, evalPairs }: TrainingPairs,
): Promise<TrainingPlan> {
  const layers = quantized === undefined ? undefined : storedFile(quantized);
  const base = await readStoredModel(files.map(storedFile), blobs, layers);
  try {
    return planTraining(base, {
      hyperparameters: spec,
      activationCheckpointing: levelOf(spec.activationCheckpointing),
      shapeOf: (rowLimit) => microBatchShape([...pairs, ...evalPairs], rowLimit),
      evaluates: evalPairs.length > 0,
      availableBytes,
    });
  } catch (error) {
    const isTooSmall = error instanceof PairwiseError && error.reason === 'OUT_OF_MEMORY';
    if (!isTooSmall || mostMemoryBytes(await workers()) <= availableBytes!) throw error;
    throw new Declined(error.message);
  }
}
