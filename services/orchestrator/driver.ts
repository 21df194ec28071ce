import type { Peers } from './peers.ts';
import type { Runs } from './runs.ts';

/** What the stages of a run work on. */
export interface Driver {
  runs: Runs;
  peers: Peers;
}
