import type { Run } from '@pairwise/api';
import type { Peers } from './peers.ts';
import type { Runs } from './runs.ts';

/** What the stages of a run work with. */
export interface Driver {
  runs: Runs;
  peers: Peers;
  /** So long may a peer take to answer a call that begins work, and to stop work that is cancelled. */
  patienceMs: number;
}

/**
 * The patience of a process. Healthy work asks every second whether it was cancelled, and stops after its micro-batch or
 * its tensor: seconds, or a minute for the largest models on a processor. The work of a worker that died goes to another
 * one after a lease of 5 s, and a peer that is being rolled out is away for a minute or two.
 */
export const patienceMs = 5 * 60_000;

/**
 * One stage of a run. It reads what it needs from the run's document, writes there what it made, and calls peers in
 * ways that may be repeated, so that it can be begun again after a crash at any instant. A peer that is away makes it
 * throw UNAVAILABLE, upon which it is begun again. The signal is aborted when the run is cancelled.
 */
export type StageWork = (driver: Driver, run: Run, signal: AbortSignal) => Promise<void>;
