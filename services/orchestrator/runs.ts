import { Run, type MetricPoint } from '@pairwise/api';
import { openDocuments, type Database, type Documents, type Queries, type Stored } from '@pairwise/database';
import {
  appendEvents,
  appendMetrics,
  entriesAfter,
  entriesOf,
  lastMetricsPosition,
  type LogEntry,
  type NewEvent,
} from './runLog.ts';

/** What an alteration did to a run: nothing, or a change that is stored together with its events, if any. */
export type RunChange = { changed: false } | { changed: true; events: readonly NewEvent[] };

export const unchanged: RunChange = { changed: false };

/** A change that adds `events` to the run's log. */
export function changed(...events: NewEvent[]): RunChange {
  return { changed: true, events };
}

/** Alters a run in place. It may write more through `tx`, and may be called again after a lost connection. */
export type Alteration = (run: Run, tx: Queries) => RunChange | Promise<RunChange>;

/** The runs in Postgres, each with its log. A run changes under its row lock, together with its log. */
export interface Runs {
  /** Throws NOT_FOUND. */
  get(name: string): Promise<Stored<Run>>;
  /** A project's runs, newest first; see `Documents.list`. */
  list: Documents<Run>['list'];
  /** Whether no run has this name or ever had it. */
  isFree(name: string): Promise<boolean>;
  /** Inserts a new run within a transaction. Returns false if the name is taken or ever was. */
  create(run: Run, parent: string, tx: Queries): Promise<boolean>;
  /**
   * Alters a run and returns the result. `within` is the transaction to do so in; default: a new one. Throws NOT_FOUND.
   */
  change(name: string, alter: Alteration, within?: Queries): Promise<Stored<Run>>;
  /**
   * Deletes a run and its log within a transaction. `alongside` deletes what belongs to the run while its row is locked,
   * and may refuse by throwing. Throws NOT_FOUND and ETAG_MISMATCH.
   */
  remove(name: string, etag: string, alongside: (run: Run) => Promise<void>, within: Queries): Promise<void>;
  /** Adds a metric point to the log unless it is there: `position` is its sequence in the training. Throws NOT_FOUND. */
  addMetrics(name: string, position: bigint, point: MetricPoint): Promise<void>;
  /** The position in the training of the last metric point in the log, 0 if there is none. */
  metricsPosition(name: string): Promise<bigint>;
  /** Log entries with a sequence above `after`, oldest first. */
  logAfter(name: string, after: bigint, limit: number): Promise<LogEntry[]>;
  /** Log entries of one kind, oldest first. */
  log(name: string, kind: 'event' | 'metrics', limit: number, after: bigint): Promise<LogEntry[]>;
}

/** Opens the runs of a database. `onEvent` is called for every event that was added to a run's log. */
export function openRuns(database: Database, onEvent: (name: string, event: NewEvent) => void): Runs {
  const documents = openDocuments(database, 'runs', 'run', Run);
  return {
    get: documents.get,
    list: documents.list,
    isFree: async (name) => (await database.row('select 1 from runs where name = $1', [name])) === undefined,
    create: async (run, parent, tx) => {
      if (!(await documents.create(run.name, parent, run, tx))) return false;
      const event = { type: 'run.created', message: 'The run was created.' };
      await appendEvents(tx, run.name, [event]);
      onEvent(run.name, event);
      return true;
    },
    change: async (name, alter, within) => {
      let events: readonly NewEvent[] = [];
      const alterAndLog = async (run: Run, tx: Queries) => {
        const change = await alter(run, tx);
        events = change.changed ? change.events : [];
        if (!change.changed) return 'unchanged';
        run.updateTime = new Date();
        await appendEvents(tx, name, events);
        return 'changed';
      };
      const run = await documents.change(name, alterAndLog, within);
      for (const event of events) onEvent(name, event);
      return run;
    },
    remove: (name, etag, alongside, within) => {
      const removeLog = async (run: Run, tx: Queries) => {
        await alongside(run);
        await tx.run('delete from run_log where run = $1', [name]);
      };
      return documents.remove(name, etag, removeLog, within);
    },
    addMetrics: async (name, position, point) => {
      await documents.change(name, async (_run, tx) => {
        await appendMetrics(tx, name, position, point);
        return 'unchanged' as const;
      });
    },
    metricsPosition: (name) => lastMetricsPosition(database, name),
    logAfter: (name, after, limit) => entriesAfter(database, name, after, limit),
    log: (name, kind, limit, after) => entriesOf(database, name, kind, limit, after),
  };
}
