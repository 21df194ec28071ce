import { type MetricPoint, type Run, RunState, type Stage } from '@pairwise/api';
import { formatTime, say } from '../output.ts';
import { headline, isEvaluation } from './figures.ts';
import type { View } from './view.ts';

const clockOf = (time: Date | undefined) => formatTime(time).slice(11);

/** Parts of the way at which progress is worth a line. */
const shares = 20;

/** A run as plain lines, for logs and pipes: events, every twentieth of a stage's way, all evaluations. */
export function linesView(): View {
  const told = new Map<string, number>();
  let steps = 0;
  let metricShare = 0;

  const progress = ({ name, progress: now }: Stage) => {
    if (now === undefined || now.totalCount <= 0n) return;
    const share = Number((now.completedCount * BigInt(shares)) / now.totalCount);
    if (name === 'train') steps = Number(now.totalCount);
    // The metric points of the training say it better.
    if (name === 'train' || share <= (told.get(name) ?? 0)) return;
    told.set(name, share);
    say(`${clockOf(new Date())}  ${name}: ${now.completedCount} of ${now.totalCount} ${now.unit}`);
  };

  const metrics = (point: MetricPoint) => {
    const evaluation = isEvaluation(point);
    const share = steps === 0 ? Infinity : Math.floor((point.step * shares) / steps);
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
    event: ({ time, message }) => say(`${clockOf(time)}  ${message}`),
    metrics,
    lost: (message) => void process.stderr.write(`the connection is lost (${message}); trying again\n`),
    close: () => undefined,
  };
}
