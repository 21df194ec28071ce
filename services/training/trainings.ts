import { Checkpoint, MetricPoint, StartTrainingRequest, Training, TrainingState } from '@pairwise/api';
import { openDocuments, type Database, type Queries, type Stored } from '@pairwise/database';
import { PairwiseError } from '@pairwise/errors';
import { fingerprintOf, type Digest, type Recipe } from '@pairwise/fingerprint';
import { statusOf } from '@pairwise/rpc';

/** A training with what its workflow needs to know. */
export interface TrainingRecord {
  training: Training;
  request: StartTrainingRequest;
  /** Counts the times that it was begun, from 1; part of the workflow's id. */
  attempt: number;
}

/** A metric point with its position in the training. */
export interface StoredPoint {
  sequence: bigint;
  point: MetricPoint;
}

export type Trainings = ReturnType<typeof openTrainings>;

interface RecordJson {
  training: unknown;
  request: unknown;
  attempt: number;
}

const codec = {
  toJSON: ({ training, request, attempt }: TrainingRecord) => ({
    training: Training.toJSON(training),
    request: StartTrainingRequest.toJSON(request),
    attempt,
  }),
  fromJSON: ({ training, request, attempt }: RecordJson): TrainingRecord => ({
    training: Training.fromJSON(training),
    request: StartTrainingRequest.fromJSON(request),
    attempt,
  }),
};

/** Whether a training will not change any more unless it is started again. */
export function hasEnded({ state }: Training): boolean {
  return state === TrainingState.SUCCEEDED || state === TrainingState.FAILED || state === TrainingState.CANCELLED;
}

/** The trainings in Postgres. */
export function openTrainings(database: Database) {
  const documents = openDocuments(database, 'trainings', 'training', codec);

  return {
    get: documents.get,
    change: documents.change,

    /**
     * The training of a request: a new one, the one that there is, or, if that failed or was cancelled, that one queued
     * again. Throws ALREADY_EXISTS if there is one with other inputs.
     */
    async ensure(training: Training, request: StartTrainingRequest): Promise<Stored<TrainingRecord>> {
      const { name } = training;
      if (await documents.create(name, request.parent, { training, request, attempt: 1 })) return documents.get(name);
      const found = await documents.find(name);
      if (found === undefined || inputsOf(found.request) !== inputsOf(request)) {
        const message = `training_id: '${name}' exists or has existed with other inputs; choose another`;
        throw new PairwiseError('ALREADY_EXISTS', message, { field: 'training_id' });
      }
      return documents.change(name, (record) => {
        const { state } = record.training;
        if (state !== TrainingState.FAILED && state !== TrainingState.CANCELLED) return false;
        record.attempt += 1;
        record.training.state = TrainingState.QUEUED;
        record.training.error = undefined;
        record.training.updateTime = new Date();
        return true;
      });
    },

    /** Ends a training, in the transaction that `fence` guards; one that has ended stays as it is. */
    end(
      name: string,
      state: TrainingState,
      error: unknown,
      fence: (tx: Queries) => Promise<void>,
    ): Promise<Stored<TrainingRecord>> {
      return documents.change(name, async ({ training }, tx) => {
        await fence(tx);
        if (hasEnded(training)) return false;
        training.state = state;
        training.error = error === undefined ? undefined : statusOf(error);
        training.updateTime = new Date();
        return true;
      });
    },

    /** Adds a metric point, unless the step has one of its kind, as it has when a segment is repeated. */
    async addPoint(tx: Queries, name: string, kind: 'train' | 'eval', point: MetricPoint): Promise<void> {
      await tx.run(
        `insert into metric_points (training, sequence, kind, step, point)
         select $1, coalesce(max(sequence), 0) + 1, $2, $3, $4 from metric_points where training = $1
         on conflict (training, kind, step) do nothing`,
        [name, kind, point.step, JSON.stringify(MetricPoint.toJSON(point))],
      );
    },

    /** Whether a step has a metric point of a kind. */
    async hasPoint(name: string, kind: 'train' | 'eval', step: number): Promise<boolean> {
      const sql = 'select 1 from metric_points where training = $1 and kind = $2 and step = $3';
      return (await database.row(sql, [name, kind, step])) !== undefined;
    },

    /** Metric points after `after`, in order. */
    async points(name: string, after: bigint, limit: number): Promise<StoredPoint[]> {
      const rows = await database.rows<{ sequence: bigint; point: unknown }>(
        'select sequence, point from metric_points where training = $1 and sequence > $2 order by sequence limit $3',
        [name, after, limit],
      );
      return rows.map(({ sequence, point }) => ({ sequence, point: MetricPoint.fromJSON(point) }));
    },

    /** Adds a checkpoint and forgets the oldest beyond `limit`; returns the digests that nothing refers to any more. */
    async addCheckpoint(tx: Queries, name: string, checkpoint: Checkpoint, limit: number): Promise<Digest[]> {
      await tx.run(
        `insert into checkpoints (training, step, checkpoint) values ($1, $2, $3)
         on conflict (training, step) do update set checkpoint = excluded.checkpoint`,
        [name, checkpoint.step, JSON.stringify(Checkpoint.toJSON(checkpoint))],
      );
      const forgotten = await tx.rows<{ digest: Digest }>(
        `delete from checkpoints where training = $1 and step not in
           (select step from checkpoints where training = $1 order by step desc limit $2)
         returning checkpoint ->> 'digest' as digest`,
        [name, limit],
      );
      return forgotten.map(({ digest }) => digest);
    },

    /** A training's checkpoints by step. */
    async checkpoints(name: string, limit: number, offset: number): Promise<Checkpoint[]> {
      const rows = await database.rows<{ checkpoint: unknown }>(
        'select checkpoint from checkpoints where training = $1 order by step limit $2 offset $3',
        [name, limit, offset],
      );
      return rows.map(({ checkpoint }) => Checkpoint.fromJSON(checkpoint));
    },

    /** One checkpoint, by its resource name. Throws NOT_FOUND. */
    async checkpoint(name: string): Promise<Checkpoint> {
      const row = await database.row<{ checkpoint: unknown }>(
        "select checkpoint from checkpoints where checkpoint ->> 'name' = $1",
        [name],
      );
      if (row !== undefined) return Checkpoint.fromJSON(row.checkpoint);
      throw new PairwiseError('NOT_FOUND', `name: there is no checkpoint '${name}'`, {
        field: 'name',
        metadata: { name },
      });
    },

    /** Deletes an ended training with its checkpoints and points. Throws NOT_FOUND, WRONG_STATE. */
    remove(name: string): Promise<void> {
      return documents.remove(name, '', async ({ training }, tx) => {
        if (!hasEnded(training)) {
          throw new PairwiseError('WRONG_STATE', `name: '${name}' has not ended; cancel it first`, { field: 'name' });
        }
        await tx.run('delete from checkpoints where training = $1', [name]);
        await tx.run('delete from metric_points where training = $1', [name]);
      });
    },
  };
}

/** What makes two requests the same training. */
function inputsOf(request: StartTrainingRequest): Digest {
  return fingerprintOf(StartTrainingRequest.toJSON(request) as Recipe);
}
