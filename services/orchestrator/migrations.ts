import { documentTable, requestAgeIndex, requestTable } from '@pairwise/database';

/** The orchestrator's tables. A run is a document; its log is what `WatchRun` replays. */
export const migrations = [
  {
    id: '0001-runs',
    sql: `
      ${documentTable('runs')}
      ${requestTable}
      create table run_log (
        run text not null references runs (name),
        sequence bigint not null,
        -- Either a RunEvent or a MetricPoint, as proto JSON; with the point, its position in the training.
        event jsonb,
        metrics jsonb,
        metrics_sequence bigint,
        primary key (run, sequence),
        unique (run, metrics_sequence),
        check ((event is null) <> (metrics is null))
      );`,
  },
  { id: '0002-request-age', sql: requestAgeIndex },
];
