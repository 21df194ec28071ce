/** A check and its result. `warn` means that it works, but not as it should. */
export interface Check {
  check: string;
  state: 'ok' | 'warn' | 'fail';
  finding: string;
  /** What to do about it; empty if the state is `ok`. */
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

/** From here on, traces and logs of different processes appear out of order. */
const clockWarnMs = 2000;
/** From here on, buckets refuse requests and certificates may count as expired or not yet valid. */
const clockFailMs = 60_000;

/** Checks how many milliseconds a clock is ahead of another; negative means behind. */
export function clockCheck(check: string, aheadMs: number, other: string): Check {
  const direction = aheadMs < 0 ? 'behind' : 'ahead of';
  const finding = `${(Math.abs(aheadMs) / 1000).toFixed(1)} s ${direction} ${other}`;
  if (Math.abs(aheadMs) < clockWarnMs) return ok(check, finding);
  return (Math.abs(aheadMs) < clockFailMs ? warn : fail)(check, finding, 'synchronise both clocks with NTP');
}
