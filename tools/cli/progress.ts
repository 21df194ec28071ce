import cliProgress from 'cli-progress';
import { styleText } from 'node:util';
import { formatBytes } from './output.ts';

/** A progress bar on standard error; it shows nothing unless standard error is a terminal. */
export interface Meter {
  update(value: number): void;
  stop(): void;
}

/** Rate per second over the last 15 seconds, so that a pause or a resumed upload does not distort it. */
export function rateMeter() {
  const seen: { time: number; value: number }[] = [];
  return {
    /** Rate after a new reading, or undefined until there is enough to go by. `time` is in milliseconds. */
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

/** A duration in clock form: 0:42, 12:05, 1:02:09. */
export function formatClock(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const two = (value: number) => String(value).padStart(2, '0');
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** A bar that is `columns` wide, drawn in eighths of a column. */
export function barText(share: number, columns: number): string {
  const eighths = Math.round(Math.min(1, Math.max(0, share)) * columns * 8);
  const part = ' ▏▎▍▌▋▊▉'[eighths % 8]!.trim();
  return ('█'.repeat(Math.floor(eighths / 8)) + part).padEnd(columns, '░');
}

/** A bar for bytes, such as `pairs.jsonl.gz  ██████░░░░  3.1 / 5.2 MB  1.2 MB/s  0:02 left`. */
export function byteMeter(label: string, total: number): Meter {
  if (!process.stderr.isTTY) return { update: () => undefined, stop: () => undefined };
  const rates = rateMeter();
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
    // The command handles Ctrl-C itself.
    gracefulExit: false,
  });
  bar.start(total, 0);
  return {
    update: (value) => {
      const rate = rates.add(value, Date.now());
      tail = rate === undefined ? '' : `  ${formatBytes(rate)}/s  ${formatClock((total - value) / rate)} left`;
      bar.update(value);
    },
    stop: () => bar.stop(),
  };
}
