/** The orchestrator's tables. A run is one proto JSON document; its log is the ordered record that watches replay. */
export const migrations = [
  {
    id: '0001-runs',
    sql: `
      CREATE TABLE runs (
        name text PRIMARY KEY,
        uid text NOT NULL UNIQUE,
        parent text NOT NULL,
        -- Counts changes: the etag, and what watches compare.
        version bigint NOT NULL DEFAULT 1,
        run jsonb NOT NULL,
        -- W3C trace context of the call that created the run.
        carrier jsonb NOT NULL,
        -- Last entry of the log, and the last of the training's metric points that is in it.
        sequence bigint NOT NULL DEFAULT 0,
        metrics_sequence bigint NOT NULL DEFAULT 0,
        create_time timestamptz NOT NULL DEFAULT now(),
        delete_time timestamptz
      );
      CREATE INDEX runs_by_time ON runs (parent, create_time DESC, name);
      CREATE TABLE run_log (
        uid text NOT NULL REFERENCES runs (uid),
        sequence bigint NOT NULL,
        -- Either a RunEvent or a MetricPoint, as proto JSON.
        event jsonb,
        metrics jsonb,
        PRIMARY KEY (uid, sequence),
        CHECK ((event IS NULL) <> (metrics IS NULL))
      );`,
  },
];
