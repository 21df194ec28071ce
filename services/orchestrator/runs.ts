import { MetricPoint, Run, RunEvent, RunState, StageState, type Stage } from '@pairwise/api';
import type { Database, Queries } from '@pairwise/database';
import { PairwiseError } from '@pairwise/errors';

export const stageNames = ['validate', 'reference', 'train', 'export', 'verify'] as const;
export type StageName = (typeof stageNames)[number];

/** W3C trace context as it travels through queues. */
export type Carrier = Record<string, string>;

/** What happened, for the run's log; time and sequence are added when it is written. */
export interface Happening {
  type: string;
  stage?: StageName;
  message: string;
}

/** One entry of a run's log. */
export interface LogEntry {
  sequence: bigint;
  payload: { $case: 'event'; value: RunEvent } | { $case: 'metrics'; value: MetricPoint };
}

export type Runs = ReturnType<typeof openRuns>;

const terminal: readonly RunState[] = [RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED];

/** Whether nothing more will happen to a run unless it is retried. */
export function hasEnded({ state }: Run): boolean {
  return terminal.includes(state);
}

/** The stages of a run that has not begun, or begins again: what has succeeded stays. */
export function pendingStages(stages: readonly Stage[] = []): Stage[] {
  return stageNames.map((name) => {
    const before = stages.find((stage) => stage.name === name);
    if (before?.state === StageState.SUCCEEDED) return before;
    return {
      name,
      state: StageState.PENDING,
      startTime: undefined,
      endTime: undefined,
      progress: undefined,
      error: undefined,
    };
  });
}

/** The runs in Postgres: documents that change under a row lock, each change with its entries in the log. */
export function openRuns(database: Database) {
  async function read(name: string, on: Queries = database, lock = ''): Promise<Row> {
    const row = await on.row<Row>(
      `SELECT uid, version, run, carrier, sequence, metrics_sequence FROM runs WHERE name = $1 AND delete_time IS NULL ${lock}`,
      [name],
    );
    if (row === undefined) throw new PairwiseError('NOT_FOUND', `name: there is no run '${name}'`, { field: 'name' });
    return row;
  }

  async function append(on: Queries, row: Row, entries: readonly { event?: RunEvent; metrics?: MetricPoint }[]) {
    for (const { event, metrics } of entries) {
      row.sequence += 1n;
      const document = event === undefined ? null : RunEvent.toJSON({ ...event, sequence: row.sequence });
      const point = metrics === undefined ? null : MetricPoint.toJSON(metrics);
      await on.run('INSERT INTO run_log (uid, sequence, event, metrics) VALUES ($1, $2, $3, $4)', [
        row.uid,
        row.sequence,
        document,
        point,
      ]);
    }
  }

  return {
    /** Inserts a new run. Throws ALREADY_EXISTS; names of deleted runs are not free either. */
    async create(run: Run, parent: string, carrier: Carrier, on: Queries): Promise<Run> {
      const inserted = await on.run(
        `INSERT INTO runs (name, uid, parent, run, carrier) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (name) DO NOTHING`,
        [run.name, run.uid, parent, Run.toJSON(run), carrier],
      );
      if (inserted === 0) {
        const message = `run_id: '${run.name}' exists or has existed; names are never reused, choose another`;
        throw new PairwiseError('ALREADY_EXISTS', message, { field: 'run_id' });
      }
      const row = await read(run.name, on, 'FOR UPDATE');
      await append(on, row, [{ event: event({ type: 'run.created', message: 'The run was created.' }) }]);
      await on.run('UPDATE runs SET sequence = $2 WHERE name = $1', [run.name, row.sequence]);
      return { ...run, etag: '1' };
    },

    /** One run. Throws NOT_FOUND. */
    async get(name: string): Promise<Run> {
      return document(await read(name));
    },

    /** The trace context under which the run was created. */
    async carrier(name: string): Promise<Carrier> {
      return (await read(name)).carrier;
    },

    /**
     * Changes a run under its row lock: `change` gets the run, alters it and says what happened.
     * Returns the run as it is now. Throws NOT_FOUND.
     */
    async change(name: string, change: (run: Run) => Happening[] | undefined): Promise<Run> {
      return database.transaction(async (transaction) => {
        const row = await read(name, transaction, 'FOR UPDATE');
        const run = document(row);
        const happenings = change(run);
        if (happenings === undefined) return run;
        run.updateTime = new Date();
        await append(
          transaction,
          row,
          happenings.map((happening) => ({ event: event(happening) })),
        );
        await transaction.run('UPDATE runs SET run = $2, sequence = $3, version = version + 1 WHERE name = $1', [
          name,
          Run.toJSON(run),
          row.sequence,
        ]);
        return { ...run, etag: String(row.version + 1n) };
      });
    },

    /** Adds the training's metric points to the log, each once: `sequence` is the point's position in the training. */
    async addMetrics(name: string, points: readonly { sequence: bigint; point: MetricPoint }[]): Promise<void> {
      await database.transaction(async (transaction) => {
        const row = await read(name, transaction, 'FOR UPDATE');
        const fresh = points.filter(({ sequence }) => sequence > row.metrics_sequence);
        const last = fresh.at(-1);
        if (last === undefined) return;
        await append(
          transaction,
          row,
          fresh.map(({ point }) => ({ metrics: point })),
        );
        await transaction.run('UPDATE runs SET sequence = $2, metrics_sequence = $3 WHERE name = $1', [
          name,
          row.sequence,
          last.sequence,
        ]);
      });
    },

    /** Position in the training of the last metric point in the log. */
    async metricsSequence(name: string): Promise<bigint> {
      return (await read(name)).metrics_sequence;
    },

    /** Runs of a project, newest first, from `offset` on. */
    async list(parent: string, limit: number, offset: number): Promise<Run[]> {
      const rows = await database.rows<Row>(
        `SELECT uid, version, run, carrier, sequence, metrics_sequence FROM runs
         WHERE parent = $1 AND delete_time IS NULL ORDER BY create_time DESC, name LIMIT $2 OFFSET $3`,
        [parent, limit, offset],
      );
      return rows.map(document);
    },

    /** Entries of a run's log after `after`, oldest first; of one kind only if asked for. */
    async log(name: string, after: bigint, limit: number, kind?: 'event' | 'metrics'): Promise<LogEntry[]> {
      const only = kind === undefined ? '' : `AND ${kind} IS NOT NULL`;
      const { uid } = await read(name);
      const rows = await database.rows<LogRow>(
        `SELECT sequence, event, metrics FROM run_log WHERE uid = $1 AND sequence > $2 ${only} ORDER BY sequence LIMIT $3`,
        [uid, after, limit],
      );
      return rows.map(logEntry);
    },

    /** Deletes a run and its log; the row stays as a tombstone, so that its name is not used again. */
    async remove(name: string): Promise<void> {
      await database.transaction(async (transaction) => {
        const { uid } = await read(name, transaction, 'FOR UPDATE');
        await transaction.run('DELETE FROM run_log WHERE uid = $1', [uid]);
        await transaction.run('UPDATE runs SET delete_time = now() WHERE name = $1', [name]);
      });
    },
  };
}

interface Row {
  uid: string;
  version: bigint;
  run: unknown;
  carrier: Carrier;
  sequence: bigint;
  metrics_sequence: bigint;
}

interface LogRow {
  sequence: bigint;
  event: unknown;
  metrics: unknown;
}

function document(row: Row): Run {
  return { ...Run.fromJSON(row.run), etag: String(row.version) };
}

function event({ type, stage, message }: Happening): RunEvent {
  return RunEvent.create({ type, stage: stage ?? '', message, time: new Date() });
}

function logEntry({ sequence, event: happened, metrics }: LogRow): LogEntry {
  return {
    sequence,
    payload:
      happened === null
        ? { $case: 'metrics', value: MetricPoint.fromJSON(metrics) }
        : { $case: 'event', value: RunEvent.fromJSON(happened) },
  };
}
