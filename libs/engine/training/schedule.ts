import type { SchedulerType } from './hyperparameters.ts';

export interface Schedule {
  type: SchedulerType;
  /** The peak. */
  learningRate: number;
  warmupSteps: number;
  stepCount: number;
}

/**
 * The learning rate of an optimizer step; steps count from 1. The formulas are those of transformers' schedulers: a linear
 * warm-up from 0 (the rate of the first step), then constant, linear to 0, or half a cosine to 0.
 */
export function learningRateAt(step: number, { type, learningRate, warmupSteps, stepCount }: Schedule): number {
  const done = step - 1;
  if (done < warmupSteps) return (learningRate * done) / warmupSteps;
  if (type === 'constant') return learningRate;
  const progress = (done - warmupSteps) / Math.max(1, stepCount - warmupSteps);
  if (type === 'linear') return learningRate * Math.max(0, 1 - progress);
  return learningRate * Math.max(0, 0.5 * (1 + Math.cos(Math.PI * progress)));
}
