import type { ActivationCheckpointing } from '@pairwise/autodiff';
import { PairwiseError } from '@pairwise/errors';
import type { BaseModel } from '@pairwise/model';
import { defaultRowLimit } from './batches.ts';
import type { Hyperparameters } from './hyperparameters.ts';
import { fits, outOfMemory, totalBytes, trainingMemory, type Memory, type MicroBatchShape } from './memoryPlan.ts';

/** How a training computes its steps, so that they fit into memory. */
export interface TrainingPlan {
  activationCheckpointing: ActivationCheckpointing;
  /** The most rows of a micro-batch of several pairs. */
  microBatchRows: number;
  memory: Memory;
}

export interface PlanSettings {
  hyperparameters: Pick<Hyperparameters, 'tuning' | 'losses' | 'microBatchRows'>;
  /** What the caller wants. @default the first of the possible ones that fits */
  activationCheckpointing?: ActivationCheckpointing | undefined;
  /** The largest micro-batch, if micro-batches have at most this many rows. */
  shapeOf: (rowLimit: number) => MicroBatchShape;
  /** Whether the policy is evaluated too. @default false */
  evaluates?: boolean;
  /** The worker's memory. @default unlimited */
  availableBytes?: number | undefined;
}

/** Enough rows for efficient products with little memory, and what is tried if that does not fit. */
const rowLimits = [defaultRowLimit, 512, 256, 128];

/** The fastest plan that fits. Throws OUT_OF_MEMORY with what the smallest one needs, and what helps. */
export function planTraining(base: BaseModel, settings: PlanSettings): TrainingPlan {
  const { hyperparameters, activationCheckpointing: wanted, shapeOf, evaluates, availableBytes = Infinity } = settings;
  const { tuning, losses, microBatchRows } = hyperparameters;
  const adapter = { lora: tuning.value, lossType: losses[0].type, ...(evaluates && { evaluates }) };
  let smallest: TrainingPlan | undefined;
  for (const rowLimit of microBatchRows === 0 ? rowLimits : [microBatchRows]) {
    for (const level of wanted === undefined ? (['cheap', 'layers'] as const) : [wanted]) {
      const memory = trainingMemory(base, adapter, level, shapeOf(rowLimit));
      const plan = { activationCheckpointing: level, microBatchRows: rowLimit, memory };
      if (fits(memory, availableBytes)) return plan;
      if (smallest === undefined || totalBytes(memory) < totalBytes(smallest.memory)) smallest = plan;
    }
  }
  throw tooLarge(base, smallest!, settings);
}

function tooLarge(
  base: BaseModel,
  { memory, activationCheckpointing, microBatchRows }: TrainingPlan,
  { hyperparameters, shapeOf, availableBytes }: PlanSettings,
): PairwiseError {
  const { longestRows, rows } = shapeOf(microBatchRows);
  const remedies = [
    ...(base.quantized === undefined ? ['set base_quantization to NF4'] : []),
    ...(longestRows === rows && longestRows > rowLimits[1]!
      ? [`lower max_length (the longest pair has ${longestRows} tokens)`]
      : []),
    ...(activationCheckpointing === 'cheap' ? ['set activation_checkpointing to LAYERS'] : []),
    ...(microBatchRows > 128 && longestRows < rows ? ['lower micro_batch_rows'] : []),
    ...(hyperparameters.tuning.value.r > 16 ? ['lower lora.r'] : []),
  ];
  return outOfMemory('a training worker', memory, availableBytes!, remedies);
}
