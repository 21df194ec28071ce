import type { Rates } from '@pairwise/database';
import type { QueueState } from '@pairwise/durable';
import type { BlobStore } from '@pairwise/store';
import type { Peers } from '../peers.ts';
import type { Trainings } from '../trainings/trainings.ts';
import type { OpenPairs } from './inputs.ts';
import type { Peak } from './peak.ts';
import type { Policies } from './policy.ts';

export interface TrainDeps {
  blobs: BlobStore;
  trainings: Trainings;
  peers: Peers;
  policies: Policies;
  openPairs: OpenPairs;
  rates: Rates;
  /** The numerics profile of this worker. */
  numericsProfile: string;
  /** The memory that this worker can use, in bytes; undefined if it is unknown. */
  availableBytes: number | undefined;
  /** The training workers that are alive. */
  workers: () => Promise<QueueState['workers']>;
  peak: Peak;
}
