import { documentTable, rateTable, requestAgeIndex, requestTable } from '@pairwise/database';

/** The training service's tables: trainings as documents, their checkpoints, their metric points in order, and rates. */
export const migrations = [
  {
    id: '0001-trainings',
    sql: `
      ${documentTable('trainings')}
      create table checkpoints (
        training text not null references trainings (name),
        step integer not null,
        -- A Checkpoint, as proto JSON.
        checkpoint jsonb not null,
        primary key (training, step)
      );
      create table metric_points (
        training text not null references trainings (name),
        sequence bigint not null,
        -- 'train' or 'eval': a step has at most one point of each.
        kind text not null,
        step integer not null,
        -- A MetricPoint, as proto JSON.
        point jsonb not null,
        primary key (training, sequence),
        unique (training, kind, step)
      );`,
  },
  { id: '0002-rates', sql: rateTable },
  { id: '0003-requests', sql: `${requestTable} ${requestAgeIndex}` },
];
