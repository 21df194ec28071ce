import type { Run } from '@pairwise/api';
import type { Peers } from './peers.ts';
import type { Runs } from './runs.ts';

/** What the stages of a run work with. */
export interface Driver {
  runs: Runs;
  peers: Peers;
}

/**
 * One stage of a run. It reads what it needs from the run's document, writes there what it made, and calls peers in
 * ways that may be repeated, so that it can be begun again after a crash at any instant. A peer that is away makes it
 * throw UNAVAILABLE, upon which it is begun again. The signal is aborted when the run is cancelled.
 */
export type StageWork = (driver: Driver, run: Run, signal: AbortSignal) => Promise<void>;
