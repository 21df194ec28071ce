import type { MetricPoint } from '@pairwise/api';

/** Formats a metric with enough digits to show changes, at a steady width. */
export function formatFigure(value: number | undefined): string {
  if (value === undefined) return '';
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e5)) return value.toExponential(2);
  return value.toFixed(size < 10 ? 4 : size < 100 ? 3 : 1);
}

/** Loss, reward margin and accuracy: the three metrics that show how training goes. */
export function headline({ values }: MetricPoint, prefix = ''): string {
  const shown = [
    ['loss', values[`${prefix}loss`]],
    ['margin', values[`${prefix}rewards/margins`]],
    ['accuracy', values[`${prefix}rewards/accuracies`]],
  ] as const;
  return shown.flatMap(([name, value]) => (value === undefined ? [] : [`${name} ${formatFigure(value)}`])).join('  ');
}

/** Whether a point belongs to an evaluation: its metrics have the prefix `eval_`. */
export function isEvaluation({ values }: MetricPoint): boolean {
  return Object.keys(values).some((name) => name.startsWith('eval_'));
}
