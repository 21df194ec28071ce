import type { Metrics } from '@pairwise/training';
import { activeRun, record } from '@pairwise/telemetry';

/** Exports the figures of a step or an evaluation as gauges of the run; a training that belongs to no run has none. */
export function tell(split: 'train' | 'eval', values: Metrics): void {
  const run = activeRun();
  if (run === undefined) return;
  const prefix = split === 'eval' ? 'eval_' : '';
  const attributes = { 'pairwise.run.id': run, 'pairwise.split': split };
  record('pairwise.training.loss', values[`${prefix}loss`]!, attributes);
  record('pairwise.training.reward.margin', values[`${prefix}rewards/margins`]!, attributes);
  record('pairwise.training.reward.accuracy', values[`${prefix}rewards/accuracies`]!, attributes);
}
