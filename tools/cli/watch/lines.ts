import { type MetricPoint, type Run, RunState, type Stage } from '@pairwise/api';
import { formatTime, say } from '../output.ts';
import { headline, isEvaluation } from './figures.ts';
import type { View } from './view.ts';

const clockOf = (time: Date | undefined) => formatTime(time).slice(11);

/** A stage prints this many progress lines at most. */
const linesPerStage = 20;

/** A run as plain lines, for logs and pipes: events, progress at every twentieth of a stage, all evaluations. */
export function linesView(): View {
  const printed = new Map<string, number>();
  let steps = 0;
  let metricShare = 0;

  const progress = ({ name, progress: now }: Stage) => {
    if (now === undefined || now.totalCount <= 0n) return;
    const share = Number((now.completedCount * BigInt(linesPerStage)) / now.totalCount);
    if (name === 'train') steps = Number(now.totalCount);
    // Metric points show the progress of training.
    if (name === 'train' || share <= (printed.get(name) ?? 0)) return;
    printed.set(name, share);
    say(`${clockOf(new Date())}  ${name}: ${now.completedCount} of ${now.totalCount} ${now.unit}`);
  };

  const metrics = (point: MetricPoint) => {
    const evaluation = isEvaluation(point);
    const share = steps === 0 ? Infinity : Math.floor((point.step * linesPerStage) / steps);
    if (!evaluation && share <= metricShare && point.step > 1) return;
    if (!evaluation && Number.isFinite(share)) metricShare = share;
    const of = steps === 0 ? '' : ` of ${steps}`;
    const text = evaluation ? `evaluation: ${headline(point, 'eval_')}` : headline(point);
    say(`${clockOf(point.time)}  step ${point.step}${of}  ${text}`);
  };

  return {
    run: (run: Run) => {
      if (run.state === RunState.RUNNING) run.stages.forEach(progress);
    },
    event: ({ time, message, warning }) => say(`${clockOf(time)}  ${warning ? 'warning: ' : ''}${message}`),
    metrics,
    lost: (message) => void process.stderr.write(`connection lost (${message}); reconnecting\n`),
    close: () => undefined,
  };
}
