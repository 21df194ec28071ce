import type { SchedulerType } from './hyperparameters.ts';

export interface Schedule {
  type: SchedulerType;
  /** Peak. */
  learningRate: number;
  warmupSteps: number;
  stepCount: number;
}

/**
 * Learning rate of an optimizer step, counted from 1, by the formulas of transformers' schedulers: linear warm-up from
 * 0, which is the first step's rate, then constant, linear to 0, or half a cosine to 0.
 */
export function learningRateAt(step: number, { type, learningRate, warmupSteps, stepCount }: Schedule): number {
  const done = step - 1;
  if (done < warmupSteps) return (learningRate * done) / warmupSteps;
  if (type === 'constant') return learningRate;
  const progress = (done - warmupSteps) / Math.max(1, stepCount - warmupSteps);
  if (type === 'linear') return learningRate * Math.max(0, 1 - progress);
  return learningRate * Math.max(0, 0.5 * (1 + Math.cos(Math.PI * progress)));
}
