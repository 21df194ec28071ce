import { Checkpoint } from '@pairwise/api';
import type { Queries } from '@pairwise/database';
import { PairwiseError } from '@pairwise/errors';

/** Adds a checkpoint to a training, in place of one of the same step, and deletes the oldest beyond `limit`. */
export async function insertCheckpoint(
  tx: Queries,
  training: string,
  checkpoint: Checkpoint,
  limit: number,
): Promise<void> {
  await tx.run(
    `insert into checkpoints (training, step, checkpoint) values ($1, $2, $3)
     on conflict (training, step) do update set checkpoint = excluded.checkpoint`,
    [training, checkpoint.step, JSON.stringify(Checkpoint.toJSON(checkpoint))],
  );
  await tx.run(
    `delete from checkpoints where training = $1 and step not in
       (select step from checkpoints where training = $1 order by step desc limit $2)`,
    [training, limit],
  );
}

/** Up to `limit` checkpoints of a training after a step, in order. */
export async function listCheckpoints(
  database: Queries,
  training: string,
  limit: number,
  after: number,
): Promise<Checkpoint[]> {
  const rows = await database.rows<{ checkpoint: unknown }>(
    'select checkpoint from checkpoints where training = $1 and step > $3 order by step limit $2',
    [training, limit, after],
  );
  return rows.map(({ checkpoint }) => Checkpoint.fromJSON(checkpoint));
}

/** A checkpoint by its resource name. Throws NOT_FOUND. */
export async function findCheckpoint(database: Queries, name: string): Promise<Checkpoint> {
  const sql = "select checkpoint from checkpoints where checkpoint ->> 'name' = $1";
  const row = await database.row<{ checkpoint: unknown }>(sql, [name]);
  if (row !== undefined) return Checkpoint.fromJSON(row.checkpoint);
  const message = `name: there is no checkpoint '${name}'`;
  throw new PairwiseError('NOT_FOUND', message, { field: 'name', metadata: { name } });
}
