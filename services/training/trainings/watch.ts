import { setTimeout as sleep } from 'node:timers/promises';
import type { WatchTrainingResponse } from '@pairwise/api';
import { hasEnded } from './record.ts';
import type { Trainings } from './trainings.ts';

const pollMs = 200;
/** A training that has not changed is sent again after this time, so that connections stay open. */
const quietMs = 15_000;
/** Metric points per query. */
const pageSize = 500;

/**
 * Streams a training: every metric point with a sequence above `after`, in order, and the training whenever it has changed.
 * The last message is the training in its final state. Throws NOT_FOUND.
 */
export async function* watchTraining(
  trainings: Trainings,
  name: string,
  after: bigint,
  signal: AbortSignal,
): AsyncGenerator<WatchTrainingResponse> {
  let sequence = after;
  let seen = '';
  let sentAt = 0;
  while (!signal.aborted) {
    // The training is read before its points, so that the points of an ended training are complete.
    const { training, etag } = await trainings.get(name);
    const points = await trainings.points(name, sequence, pageSize);
    for (const { sequence: position, point } of points) {
      sequence = position;
      yield { payload: { $case: 'metrics', value: point }, sequence };
    }
    if (points.length === pageSize) continue;
    if (etag !== seen || Date.now() - sentAt > quietMs) {
      [seen, sentAt] = [etag, Date.now()];
      yield { payload: { $case: 'training', value: training }, sequence };
    }
    if (hasEnded(training)) return;
    await sleep(pollMs);
  }
}
