import type { Checkpoint, TrainingState } from '@pairwise/api';
import type { Change, Queries } from '@pairwise/database';
import type { Attempt } from '@pairwise/durable';
import type { TrainingRecord } from '../trainings/record.ts';
import type { Trainings } from '../trainings/trainings.ts';

/** A training that one attempt works on. Once another attempt owns the work, every write throws STALE_ATTEMPT. */
export interface OwnedTraining {
  name: string;
  read(): Promise<TrainingRecord>;
  /** Changes the training and its update time. */
  change(alter: (record: TrainingRecord, tx: Queries) => Promise<Change> | Change): Promise<void>;
  /** Ends the training unless it has ended. */
  end(state: TrainingState, error?: unknown): Promise<void>;
  /** A checkpoint by its resource name. Throws NOT_FOUND. */
  checkpoint(name: string): Promise<Checkpoint>;
}

/** The training `name`, with every write guarded by the fence of `attempt`. */
export function ownTraining(trainings: Trainings, name: string, { fence }: Attempt): OwnedTraining {
  return {
    name,
    read: () => trainings.get(name),
    change: async (alter) => {
      await trainings.change(name, async (record, tx) => {
        await fence(tx);
        if ((await alter(record, tx)) === 'unchanged') return 'unchanged';
        record.training.updateTime = new Date();
        return 'changed';
      });
    },
    end: async (state, error) => {
      await trainings.end(name, state, error, fence);
    },
    checkpoint: (checkpoint) => trainings.checkpoint(checkpoint),
  };
}
