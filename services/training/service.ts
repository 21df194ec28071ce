import { TrainingServiceService, TrainingState, type Training, type WatchTrainingResponse } from '@pairwise/api';
import type { Queries } from '@pairwise/database';
import { PairwiseError } from '@pairwise/errors';
import { parseName, readPage, service, type Service } from '@pairwise/rpc';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Peers } from './peers.ts';
import { startTraining } from './start.ts';
import { hasEnded, type TrainingRecord, type Trainings } from './trainings.ts';

/** What the handlers work with. */
export interface TrainingParts {
  trainings: Trainings;
  peers: Peers;
  numericsProfile: string;
  /** Enqueues the work of a training's attempt; doing so again changes nothing. */
  enqueue: (record: TrainingRecord) => Promise<void>;
  /** Asks for the work of a training's attempt to be cancelled when the transaction is committed. */
  cancel: (record: TrainingRecord, tx: Queries) => Promise<void>;
}

const pattern = 'projects/{project}/trainings/{training}';
const pollMs = 200;
const quietMs = 15_000;
/** Metric points read at a time. */
const pageSize = 500;

/** TrainingService; `proto/pairwise/v1/training.proto` documents each method. */
export function trainingService(parts: TrainingParts): Service {
  const { trainings } = parts;
  return service(TrainingServiceService, {
    startTraining: async (request, context) => {
      const record = await startTraining(parts, request, context);
      if (!hasEnded(record.training)) await parts.enqueue(record);
      return { training: record.training };
    },
    getTraining: async ({ name }) => ({ training: (await trainings.get(named(name))).training }),
    watchTraining: ({ name, afterSequence }, { signal }) =>
      watch(trainings, named(name), positionOf(afterSequence), signal),
    cancelTraining: async ({ name }) => ({ training: await cancel(parts, named(name)) }),
    deleteTraining: async ({ name }) => {
      await trainings.remove(named(name));
      return {};
    },
    listCheckpoints: async (request) => {
      parseName(pattern, request.parent, 'parent');
      await trainings.get(request.parent);
      const page = await readPage(request, (limit, offset) => trainings.checkpoints(request.parent, limit, offset));
      return { checkpoints: page.items, nextPageToken: page.nextPageToken };
    },
    getCheckpoint: async ({ name }) => {
      parseName(`${pattern}/checkpoints/{checkpoint}`, name, 'name');
      return { checkpoint: await trainings.checkpoint(name) };
    },
  });
}

function named(name: string): string {
  parseName(pattern, name, 'name');
  return name;
}

function positionOf(afterSequence: bigint): bigint {
  if (afterSequence >= 0n) return afterSequence;
  const message = `after_sequence is ${afterSequence}; it must be at least 0`;
  throw new PairwiseError('INVALID_ARGUMENT', message, { field: 'after_sequence' });
}

async function cancel({ trainings, cancel: cancelWork }: TrainingParts, name: string): Promise<Training> {
  const changed = await trainings.change(name, async (record, tx) => {
    if (hasEnded(record.training) || record.training.state === TrainingState.CANCELLING) return false;
    record.training.state = TrainingState.CANCELLING;
    record.training.updateTime = new Date();
    await cancelWork(record, tx);
    return true;
  });
  return changed.training;
}

/** Every metric point after `after` in order, and the training whenever it has changed, the ended one last. */
async function* watch(
  trainings: Trainings,
  name: string,
  after: bigint,
  signal: AbortSignal,
): AsyncGenerator<WatchTrainingResponse> {
  let sequence = after;
  let seen = '';
  let saidAt = 0;
  while (!signal.aborted) {
    // The training is read before its points, so that those of an ended one are complete.
    const { training, etag } = await trainings.get(name);
    const points = await trainings.points(name, sequence, pageSize);
    for (const { sequence: position, point } of points) {
      sequence = position;
      yield { payload: { $case: 'metrics', value: point }, sequence };
    }
    if (points.length === pageSize) continue;
    if (etag !== seen || Date.now() - saidAt > quietMs) {
      [seen, saidAt] = [etag, Date.now()];
      yield { payload: { $case: 'training', value: training }, sequence };
    }
    if (hasEnded(training)) return;
    await sleep(pollMs);
  }
}
