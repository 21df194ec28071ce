import { activeRun, record } from '@pairwise/telemetry';
import type { Metrics } from '@pairwise/training';

/** Exports the metrics of a step or an evaluation as gauges of the active run. Outside of a run it does nothing. */
export function logMetrics(split: 'train' | 'eval', values: Metrics): void {
  const run = activeRun();
  if (run === undefined) return;
  const prefix = split === 'eval' ? 'eval_' : '';
  const attributes = { 'pairwise.run.id': run, 'pairwise.split': split };
  record('pairwise.training.loss', values[`${prefix}loss`]!, attributes);
  record('pairwise.training.reward.margin', values[`${prefix}rewards/margins`]!, attributes);
  record('pairwise.training.reward.accuracy', values[`${prefix}rewards/accuracies`]!, attributes);
}
