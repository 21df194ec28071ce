import { TrainingState, type WatchTrainingResponse } from '@pairwise/api';
import { hasEnded, watch } from '@pairwise/rpc';
import type { TrainingRecord } from './record.ts';
import type { StoredPoint } from './points.ts';
import type { Trainings } from './trainings.ts';

/** Metric points per query. */
const pageSize = 500;

/**
 * Streams a training: every metric point with a sequence above `after`, in order, and the training whenever it has changed.
 * The last message is the training in its final state. Throws NOT_FOUND.
 */
export function watchTraining(
  trainings: Trainings,
  name: string,
  after: bigint,
  signal: AbortSignal,
): AsyncIterable<WatchTrainingResponse> {
  let sequence = after;

  async function* newPoints(): AsyncGenerator<WatchTrainingResponse> {
    let page: StoredPoint[];
    do {
      page = await trainings.points(name, sequence, pageSize);
      for (const { sequence: position, point } of page) {
        sequence = position;
        yield { payload: { $case: 'metrics', value: point }, sequence };
      }
    } while (page.length === pageSize);
  }

  return watch<TrainingRecord, WatchTrainingResponse>(
    {
      read: () => trainings.get(name),
      hasEnded: ({ training }) => hasEnded(TrainingState, training),
      show: ({ training }) => ({ payload: { $case: 'training', value: training }, sequence }),
      newEntries: newPoints,
    },
    signal,
  );
}
