import cliProgress from 'cli-progress';
import { styleText } from 'node:util';
import { formatBytes } from './output.ts';

/** Shows how far something has come; silent where standard error is no terminal. */
export interface Meter {
  update(value: number): void;
  stop(): void;
}

/** Amounts per second over the last few moments, so that a pause or a resumed start does not spoil it. */
export function pace() {
  const seen: { time: number; value: number }[] = [];
  return {
    /** Rate after a new reading; undefined until it can be told. `time` in milliseconds. */
    add: (value: number, time: number): number | undefined => {
      seen.push({ time, value });
      while (seen.length > 2 && time - seen[0]!.time > 15_000) seen.shift();
      const first = seen[0]!;
      return time - first.time < 500 || value <= first.value
        ? undefined
        : ((value - first.value) * 1000) / (time - first.time);
    },
  };
}

/** Seconds as a clock shows them: 0:42, 12:05, 1:02:09. */
export function clock(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const two = (value: number) => String(value).padStart(2, '0');
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** A bar of so many columns; eighths of a column are shown. */
export function barText(share: number, columns: number): string {
  const eighths = Math.round(Math.min(1, Math.max(0, share)) * columns * 8);
  const part = ' ▏▎▍▌▋▊▉'[eighths % 8]!.trim();
  return ('█'.repeat(Math.floor(eighths / 8)) + part).padEnd(columns, '░');
}

/** A bar for bytes, such as `pairs.jsonl.gz  ██████░░░░  3.1 / 5.2 MB  1.2 MB/s  0:02 left`. */
export function byteMeter(label: string, total: number): Meter {
  if (!process.stderr.isTTY) return { update: () => undefined, stop: () => undefined };
  const rates = pace();
  let tail = '';
  const bar = new cliProgress.SingleBar({
    format: (_options, { value }) => {
      const columns = Math.min(30, Math.max(8, (process.stderr.columns || 80) - label.length - 50));
      const shown = styleText('cyan', barText(total === 0 ? 1 : value / total, columns), { stream: process.stderr });
      return `${label}  ${shown}  ${formatBytes(value)} of ${formatBytes(total)}${tail}`;
    },
    stream: process.stderr,
    hideCursor: true,
    clearOnComplete: true,
    // Ctrl-C is the command's to deal with.
    gracefulExit: false,
  });
  bar.start(total, 0);
  return {
    update: (value) => {
      const rate = rates.add(value, Date.now());
      tail = rate === undefined ? '' : `  ${formatBytes(rate)}/s  ${clock((total - value) / rate)} left`;
      bar.update(value);
    },
    stop: () => bar.stop(),
  };
}
