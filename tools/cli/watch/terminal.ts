import cliProgress, { type SingleBar } from 'cli-progress';
import { type MetricPoint, type Run, type Stage, StageState } from '@pairwise/api';
import { formatCount, formatSeconds, paint, say } from '../output.ts';
import { barText, formatClock, rateMeter } from '../progress.ts';
import { headline, isEvaluation } from './figures.ts';
import type { View } from './view.ts';

const nameWidth = 10;

interface StageBar {
  name: string;
  update(stage: Stage): void;
  /** Shows the training metrics after the bar. */
  figures(text: string): void;
  stop(): void;
}

/** The current stage, as a bar with rate and time left. */
function stageBar(stage: Stage): StageBar {
  const rates = rateMeter();
  const began = stage.startTime ?? new Date();
  let now = stage;
  let figures = '';
  let rate: number | undefined;
  const text = () => {
    const { completedCount: done = 0n, totalCount: total = 0n, unit = '' } = now.progress ?? {};
    const elapsed = (Date.now() - began.getTime()) / 1000;
    if (total === 0n) return `  ${now.name.padEnd(nameWidth)}${paint('dim', formatClock(elapsed))}`;
    const counts = `${formatCount(done)}/${formatCount(total)} ${unit}`;
    const speed = rate === undefined ? '' : `  ${rate < 10 ? rate.toFixed(1) : formatCount(Math.round(rate))}/s`;
    const left = rate === undefined || done >= total ? '' : `  ${formatClock(Number(total - done) / rate)} left`;
    const tail = `${counts}${speed}${left}${figures === '' ? '' : `  ${figures}`}`;
    const columns = Math.min(30, Math.max(6, process.stdout.columns - nameWidth - tail.length - 5));
    return `  ${now.name.padEnd(nameWidth)}${paint('cyan', barText(Number(done) / Number(total), columns))}  ${tail}`;
  };
  const bar: SingleBar = new cliProgress.SingleBar({
    format: text,
    stream: process.stdout,
    hideCursor: true,
    clearOnComplete: true,
    gracefulExit: false,
    fps: 5,
  });
  bar.start(1, 0);
  return {
    name: stage.name,
    update: (stage: Stage) => {
      now = stage;
      rate = rates.add(Number(stage.progress?.completedCount ?? 0), Date.now());
      bar.update(0);
    },
    figures: (text: string) => {
      figures = text;
      bar.update(0);
    },
    stop: () => bar.stop(),
  };
}

const marks: Partial<Record<StageState, string>> = {
  [StageState.SUCCEEDED]: paint('green', '✔'),
  [StageState.FAILED]: paint('red', '✖'),
  [StageState.CANCELLED]: paint('yellow', '■'),
};

/** A run on a terminal: a line for each finished stage and a live bar for the current one. */
export function terminalView(): View {
  const finished = new Set<string>();
  /** Last message of each stage, other than that it started or ended. */
  const remarks = new Map<string, string>();
  let bar: StageBar | undefined;
  const clear = () => {
    bar?.stop();
    bar = undefined;
  };

  const finish = ({ name, state, startTime, endTime }: Stage) => {
    finished.add(name);
    if (bar?.name === name) clear();
    const seconds = startTime && endTime ? formatSeconds((endTime.getTime() - startTime.getTime()) / 1000) : '';
    const remark = remarks.get(name) ?? '';
    say(`${marks[state]!} ${name.padEnd(nameWidth)}${seconds.padStart(11)}  ${paint('dim', remark)}`.trimEnd());
  };

  return {
    run: (run: Run) => {
      for (const stage of run.stages) {
        if (marks[stage.state] !== undefined) {
          if (!finished.has(stage.name)) finish(stage);
        } else if (stage.state === StageState.RUNNING) {
          if (bar?.name !== stage.name) {
            clear();
            bar = stageBar(stage);
          }
          bar.update(stage);
        } else {
          // A retried run starts its stages again.
          finished.delete(stage.name);
        }
      }
    },
    event: ({ type, stage, message, warning }) => {
      if (warning) {
        // The next update of the run draws the bar again.
        clear();
        say(paint('yellow', `▲ ${message}`));
      } else if (stage !== '' && !type.startsWith('stage.')) remarks.set(stage, message);
    },
    metrics: (point: MetricPoint) => {
      if (!isEvaluation(point)) bar?.figures(headline(point));
    },
    lost: (message) => {
      clear();
      say(paint('yellow', `connection lost (${message}); reconnecting`));
    },
    close: clear,
  };
}
