import { MetricPoint } from '@pairwise/api';
import type { Queries } from '@pairwise/database';

/** The pairs that a metric point is about: those of a training step, or those held out for evaluation. */
export type Split = 'train' | 'eval';

/** A metric point with its position in the training, from 1. */
export interface StoredPoint {
  sequence: bigint;
  point: MetricPoint;
}

/** Adds a metric point, unless its step already has one of that split because its segment is repeated. */
export async function insertPoint(tx: Queries, training: string, split: Split, point: MetricPoint): Promise<void> {
  await tx.run(
    `insert into metric_points (training, sequence, kind, step, point)
     select $1, coalesce(max(sequence), 0) + 1, $2, $3, $4 from metric_points where training = $1
     on conflict (training, kind, step) do nothing`,
    [training, split, point.step, JSON.stringify(MetricPoint.toJSON(point))],
  );
}

/** Whether a step has a metric point of a split. */
export async function hasPoint(database: Queries, training: string, split: Split, step: number): Promise<boolean> {
  const sql = 'select 1 from metric_points where training = $1 and kind = $2 and step = $3';
  return (await database.row(sql, [training, split, step])) !== undefined;
}

/** Up to `limit` metric points with a sequence above `after`, in order. */
export async function pointsAfter(
  database: Queries,
  training: string,
  after: bigint,
  limit: number,
): Promise<StoredPoint[]> {
  const rows = await database.rows<{ sequence: bigint; point: unknown }>(
    'select sequence, point from metric_points where training = $1 and sequence > $2 order by sequence limit $3',
    [training, after, limit],
  );
  return rows.map(({ sequence, point }) => ({ sequence, point: MetricPoint.fromJSON(point) }));
}
