import { MetricPoint, Run, RunEvent, RunState, StageState, type Stage } from '@pairwise/api';
import { openDocuments, type Database, type Queries } from '@pairwise/database';

export const stageNames = ['validate', 'reference', 'train', 'export', 'verify'] as const;
export type StageName = (typeof stageNames)[number];

/** What happened, for the run's log; time and sequence are added when it is written. */
export interface Happening {
  type: string;
  stage?: StageName;
  message: string;
}

/** What a change brought about; undefined where there was nothing to change. */
type Change = Happening[] | undefined;

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

/**
 * The stages of a run that has not begun, or begins again: what has succeeded stays. Export and verify are the stages of
 * one resource, which the first of them takes up again.
 */
export function pendingStages(stages: readonly Stage[] = []): Stage[] {
  const succeeded = (name: StageName) => stages.some((it) => it.name === name && it.state === StageState.SUCCEEDED);
  return stageNames.map((name) => {
    const before = stages.find((stage) => stage.name === name);
    if (before !== undefined && succeeded(name) && (name !== 'export' || succeeded('verify'))) return before;
    const state = StageState.PENDING;
    return { name, state, startTime: undefined, endTime: undefined, progress: undefined, error: undefined };
  });
}

/**
 * The runs in Postgres: documents that change under a row lock, each change with its entries in the log. `told` hears of
 * everything that happened.
 */
export function openRuns(database: Database, told: (name: string, happening: Happening) => void) {
  const documents = openDocuments(database, 'runs', 'run', Run);

  return {
    get: documents.get,
    list: documents.list,

    /** Whether no run has this name, or had it. */
    async isFree(name: string): Promise<boolean> {
      return (await database.row('select 1 from runs where name = $1', [name])) === undefined;
    },

    /** Inserts a new run. False where the name is or was taken. */
    async create(run: Run, parent: string, tx: Queries): Promise<boolean> {
      if (!(await documents.create(run.name, parent, run, tx))) return false;
      const happening = { type: 'run.created', message: 'The run was created.' };
      await append(tx, run.name, [happening]);
      told(run.name, happening);
      return true;
    },

    /**
     * Changes a run: `alter` alters it, may write more through `tx`, and says what happened, or returns undefined where
     * there is nothing to change. `within` is a transaction of which the change becomes a part. Returns the run as it is
     * now. Throws NOT_FOUND.
     */
    async change(
      name: string,
      alter: (run: Run, tx: Queries) => Change | Promise<Change>,
      within?: Queries,
    ): Promise<Run> {
      let happened: Change;
      const alterAndLog = async (run: Run, tx: Queries) => {
        happened = await alter(run, tx);
        if (happened === undefined) return false;
        run.updateTime = new Date();
        await append(tx, name, happened);
        return true;
      };
      const changed = await documents.change(name, alterAndLog, within);
      happened?.forEach((happening) => told(name, happening));
      return changed;
    },

    /** Adds a metric point of the training to the log, once: `position` is the point's sequence in the training. */
    async addMetrics(name: string, position: bigint, point: MetricPoint): Promise<void> {
      await documents.change(name, async (_run, tx) => {
        await tx.run(
          `insert into run_log (run, sequence, metrics, metrics_sequence)
           select $1, coalesce(max(sequence), 0) + 1, $2, $3 from run_log where run = $1
           on conflict (run, metrics_sequence) do nothing`,
          [name, JSON.stringify(MetricPoint.toJSON(point)), position],
        );
        return false;
      });
    },

    /** Position in the training of the last metric point in the log; 0 if there is none. */
    async metricsSequence(name: string): Promise<bigint> {
      const sql = 'select coalesce(max(metrics_sequence), 0) as last from run_log where run = $1';
      return (await database.row<{ last: bigint }>(sql, [name]))?.last ?? 0n;
    },

    /** Entries of a run's log after `after`, oldest first. */
    async logAfter(name: string, after: bigint, limit: number): Promise<LogEntry[]> {
      const rows = await database.rows<LogRow>(
        'select sequence, event, metrics from run_log where run = $1 and sequence > $2 order by sequence limit $3',
        [name, after, limit],
      );
      return rows.map(logEntry);
    },

    /** Entries of one kind, oldest first. */
    async log(name: string, kind: 'event' | 'metrics', limit: number, offset: number): Promise<LogEntry[]> {
      const rows = await database.rows<LogRow>(
        `select sequence, event, metrics from run_log where run = $1 and ${kind} is not null
         order by sequence limit $2 offset $3`,
        [name, limit, offset],
      );
      return rows.map(logEntry);
    },

    /**
     * Deletes a run and its log within a transaction; `alongside` deletes what belongs to it, while nobody can change the
     * run, and may refuse by throwing. Throws NOT_FOUND, ETAG_MISMATCH.
     */
    remove(name: string, etag: string, alongside: (run: Run) => Promise<void>, within: Queries): Promise<void> {
      const removeLog = async (run: Run, tx: Queries) => {
        await alongside(run);
        await tx.run('delete from run_log where run = $1', [name]);
      };
      return documents.remove(name, etag, removeLog, within);
    },
  };
}

interface LogRow {
  sequence: bigint;
  event: unknown;
  metrics: unknown;
}

/** Adds events to a run's log. The caller holds the run's row lock, which keeps the sequence without gaps. */
async function append(tx: Queries, name: string, happenings: readonly Happening[]): Promise<void> {
  for (const { type, stage, message } of happenings) {
    const event = RunEvent.create({ type, stage: stage ?? '', message, time: new Date() });
    await tx.run(
      `insert into run_log (run, sequence, event)
       select $1, coalesce(max(sequence), 0) + 1, $2 from run_log where run = $1`,
      [name, JSON.stringify(RunEvent.toJSON(event))],
    );
  }
}

function logEntry({ sequence, event, metrics }: LogRow): LogEntry {
  const payload: LogEntry['payload'] =
    event === null
      ? { $case: 'metrics', value: MetricPoint.fromJSON(metrics) }
      : { $case: 'event', value: { ...RunEvent.fromJSON(event), sequence } };
  return { sequence, payload };
}
