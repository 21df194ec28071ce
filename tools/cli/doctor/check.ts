/** What was looked at, and what was found. `warn` works, but not as it should. */
export interface Check {
  check: string;
  state: 'ok' | 'warn' | 'fail';
  finding: string;
  /** What to do about it, in words; empty where all is well. */
  remedy: string;
}

export const ok = (check: string, finding: string): Check => ({ check, state: 'ok', finding, remedy: '' });
export const warn = (check: string, finding: string, remedy: string): Check => ({
  check,
  state: 'warn',
  finding,
  remedy,
});
export const fail = (check: string, finding: string, remedy: string): Check => ({
  check,
  state: 'fail',
  finding,
  remedy,
});

/** Traces and logs of different processes no longer read in order. */
const clockWarnMs = 2000;
/** Buckets refuse requests, and certificates are not yet or no longer valid. */
const clockFailMs = 60_000;

/** Judges by how many milliseconds a clock is ahead of another, or behind it if negative. */
export function clockCheck(check: string, aheadMs: number, other: string): Check {
  const direction = aheadMs < 0 ? 'behind' : 'ahead of';
  const finding = `${(Math.abs(aheadMs) / 1000).toFixed(1)} s ${direction} ${other}`;
  if (Math.abs(aheadMs) < clockWarnMs) return ok(check, finding);
  return (Math.abs(aheadMs) < clockFailMs ? warn : fail)(check, finding, 'set both clocks by NTP');
}
