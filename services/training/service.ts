import {
  CancelTrainingRequest,
  Checkpoint,
  DeleteTrainingRequest,
  Training,
  TrainingServiceService,
  TrainingState,
} from '@pairwise/api';
import { callOf, runOnce, type Database, type Queries } from '@pairwise/database';
import { PairwiseError } from '@pairwise/errors';
import { byName, hasEnded, inField, parseName, readPage, service, type Service } from '@pairwise/rpc';
import { estimateTraining, type EstimateDeps } from './estimate.ts';
import type { Peers } from './peers.ts';
import { startTraining } from './start.ts';
import type { TrainingRecord } from './trainings/record.ts';
import type { Trainings } from './trainings/trainings.ts';
import { watchTraining } from './trainings/watch.ts';

export interface TrainingDeps extends EstimateDeps {
  database: Database;
  trainings: Trainings;
  peers: Peers;
  /** Enqueues the work of a training's attempt unless it is enqueued. */
  enqueue: (record: TrainingRecord) => Promise<void>;
  /** Cancels the work of a training's attempt, as part of the transaction. */
  cancel: (record: TrainingRecord, tx: Queries) => Promise<void>;
}

const pattern = 'projects/{project}/trainings/{training}';

/** TrainingService; `proto/pairwise/v1/training.proto` documents each method. */
export function trainingService(deps: TrainingDeps): Service {
  const { database, trainings } = deps;
  return service(TrainingServiceService, {
    startTraining: async (request, context) => {
      const record = await startTraining(deps, request, context);
      if (!hasEnded(TrainingState, record.training)) await deps.enqueue(record);
      return { training: record.training };
    },
    estimateTraining: async (request) => ({ estimate: await estimateTraining(deps, request) }),
    getTraining: async ({ name }) => ({ training: (await trainings.get(named(name))).training }),
    listTrainings: async (request) => {
      const { parent } = request;
      parseName('projects/{project}', parent, 'parent');
      const read = async (limit: number, after: string) =>
        (await trainings.list(parent, limit, after)).map(({ training }) => training);
      const page = await readPage(request, byName('trainings', Training, read));
      return { trainings: page.items, nextPageToken: page.nextPageToken };
    },
    watchTraining: ({ name, afterSequence }, { signal }) =>
      watchTraining(trainings, named(name), positionOf(afterSequence), signal),
    cancelTraining: async (request) => ({ training: await cancel(deps, request) }),
    deleteTraining: async (request) => {
      const name = named(request.name);
      await runOnce(database, callOf('DeleteTraining', DeleteTrainingRequest, request), async (tx) => {
        await trainings.remove(name, tx);
        return name;
      });
      return {};
    },
    listCheckpoints: async (request) => {
      parseName(pattern, request.parent, 'parent');
      await inField('parent', trainings.get(request.parent));
      const page = await readPage<Checkpoint>(request, {
        name: 'checkpoints',
        read: (limit, after) => trainings.checkpoints(request.parent, limit, after === '' ? -1 : Number(after)),
        keyOf: ({ step }) => String(step),
        encode: (checkpoint) => Checkpoint.encode(checkpoint),
      });
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

async function cancel(deps: TrainingDeps, request: CancelTrainingRequest): Promise<Training> {
  const { database, trainings, cancel: cancelWork } = deps;
  const name = named(request.name);
  const stop = async (record: TrainingRecord, tx: Queries) => {
    if (hasEnded(TrainingState, record.training) || record.training.state === TrainingState.CANCELLING)
      return 'unchanged';
    record.training.state = TrainingState.CANCELLING;
    record.training.updateTime = new Date();
    await cancelWork(record, tx);
    return 'changed';
  };
  await runOnce(database, callOf('CancelTraining', CancelTrainingRequest, request), async (tx) => {
    await trainings.change(name, stop, tx);
    return name;
  });
  return (await trainings.get(name)).training;
}
