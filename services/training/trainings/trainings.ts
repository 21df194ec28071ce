import {
  TrainingState,
  type Checkpoint,
  type MetricPoint,
  type StartTrainingRequest,
  type Training,
} from '@pairwise/api';
import { openDocuments, type Database, type Documents, type Queries, type Stored } from '@pairwise/database';
import { PairwiseError } from '@pairwise/errors';
import { hasEnded, statusOf } from '@pairwise/rpc';
import { findCheckpoint, insertCheckpoint, listCheckpoints } from './checkpoints.ts';
import { hasPoint, insertPoint, pointsAfter, type Split, type StoredPoint } from './points.ts';
import { isRestartable, recordCodec, sameInputs, type TrainingRecord } from './record.ts';

/** The trainings in Postgres, each with its checkpoints and its metric points. */
export interface Trainings {
  /** Throws NOT_FOUND. */
  get(name: string): Promise<Stored<TrainingRecord>>;
  /** Changes a training under its row lock; see `Documents.change`. Throws NOT_FOUND. */
  change: Documents<TrainingRecord>['change'];
  /** A project's trainings, newest first; see `Documents.list`. */
  list: Documents<TrainingRecord>['list'];
  /**
   * The training of a request: a new one; the one that exists; or, if that failed or was cancelled, the same one queued
   * again. Throws ALREADY_EXISTS if the existing one has other inputs.
   */
  ensure(training: Training, request: StartTrainingRequest): Promise<Stored<TrainingRecord>>;
  /** Ends a training unless it has ended, in a transaction that `fence` guards. */
  end(
    name: string,
    state: TrainingState,
    error: unknown,
    fence: (tx: Queries) => Promise<void>,
  ): Promise<Stored<TrainingRecord>>;
  /** Deletes an ended training with its checkpoints and points. Throws NOT_FOUND and WRONG_STATE. */
  remove(name: string, tx: Queries): Promise<void>;
  /** Adds a metric point, unless its step already has one of that split. */
  addPoint(tx: Queries, name: string, split: Split, point: MetricPoint): Promise<void>;
  /** Whether a step has a metric point of a split. */
  hasPoint(name: string, split: Split, step: number): Promise<boolean>;
  /** Metric points with a sequence above `after`, in order. */
  points(name: string, after: bigint, limit: number): Promise<StoredPoint[]>;
  /** Adds a checkpoint and deletes the oldest beyond `limit`. */
  addCheckpoint(tx: Queries, name: string, checkpoint: Checkpoint, limit: number): Promise<void>;
  /** A training's checkpoints after a step, in order. */
  checkpoints(name: string, limit: number, after: number): Promise<Checkpoint[]>;
  /** A checkpoint by its resource name. Throws NOT_FOUND. */
  checkpoint(name: string): Promise<Checkpoint>;
}

/** Opens the trainings of a database. */
export function openTrainings(database: Database): Trainings {
  const documents = openDocuments(database, 'trainings', 'training', recordCodec);
  return {
    get: documents.get,
    change: documents.change,
    list: documents.list,
    ensure: (training, request) => ensure(documents, training, request),
    end: (name, state, error, fence) =>
      documents.change(name, async ({ training }, tx) => {
        await fence(tx);
        if (hasEnded(TrainingState, training)) return 'unchanged';
        training.state = state;
        training.error = error === undefined ? undefined : statusOf(error);
        training.updateTime = new Date();
        return 'changed';
      }),
    remove: (name, within) => {
      const removeBelongings = async ({ training }: TrainingRecord, tx: Queries) => {
        if (!hasEnded(TrainingState, training)) {
          throw new PairwiseError('WRONG_STATE', `name: '${name}' has not ended; cancel it first`, { field: 'name' });
        }
        await tx.run('delete from checkpoints where training = $1', [name]);
        await tx.run('delete from metric_points where training = $1', [name]);
      };
      return documents.remove(name, '', removeBelongings, within);
    },
    addPoint: insertPoint,
    hasPoint: (name, split, step) => hasPoint(database, name, split, step),
    points: (name, after, limit) => pointsAfter(database, name, after, limit),
    addCheckpoint: insertCheckpoint,
    checkpoints: (name, limit, after) => listCheckpoints(database, name, limit, after),
    checkpoint: (name) => findCheckpoint(database, name),
  };
}

async function ensure(
  documents: Documents<TrainingRecord>,
  training: Training,
  request: StartTrainingRequest,
): Promise<Stored<TrainingRecord>> {
  const { name } = training;
  if (await documents.create(name, request.parent, { training, request, attempt: 1 })) return documents.get(name);
  const found = await documents.find(name);
  if (found === undefined || !sameInputs(found.request, request)) {
    const message = `training_id: '${name}' belongs to a training with other inputs, or to a deleted one; choose another id`;
    throw new PairwiseError('ALREADY_EXISTS', message, { field: 'training_id' });
  }
  return documents.change(name, (record) => {
    if (!isRestartable(record.training.state)) return 'unchanged';
    record.attempt += 1;
    record.training.state = TrainingState.QUEUED;
    record.training.error = undefined;
    record.training.updateTime = new Date();
    return 'changed';
  });
}
