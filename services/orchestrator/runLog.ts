import { MetricPoint, RunEvent } from '@pairwise/api';
import type { Queries } from '@pairwise/database';
import type { StageName } from './run.ts';

/** An event to add to a run's log, which gives it its number and its time. */
export interface NewEvent {
  type: string;
  stage?: StageName;
  message: string;
  /** Whether a person should look at it although the run continues. Default: false. */
  warning?: boolean;
}

/** One entry of a run's log. */
export interface LogEntry {
  /** The place in the log, from 1. */
  sequence: bigint;
  payload: { $case: 'event'; value: RunEvent } | { $case: 'metrics'; value: MetricPoint };
}

interface LogRow {
  sequence: bigint;
  event: unknown;
  metrics: unknown;
}

/** Adds events to a run's log and numbers them. The caller holds the run's row lock, so the numbers have no gaps. */
export async function appendEvents(tx: Queries, run: string, events: readonly NewEvent[]): Promise<void> {
  for (const { type, stage, message, warning } of events) {
    const event = RunEvent.create({ type, stage: stage ?? '', message, warning: warning ?? false, time: new Date() });
    await tx.run(
      `insert into run_log (run, sequence, event)
       select $1, coalesce(max(sequence), 0) + 1,
              jsonb_set($2::jsonb, '{sequence}', to_jsonb((count(event) + 1)::text))
       from run_log where run = $1`,
      [run, JSON.stringify(RunEvent.toJSON(event))],
    );
  }
}

/** Adds a metric point unless the log has it: `position` is its sequence in the training. Needs the run's row lock. */
export async function appendMetrics(tx: Queries, run: string, position: bigint, point: MetricPoint): Promise<void> {
  await tx.run(
    `insert into run_log (run, sequence, metrics, metrics_sequence)
     select $1, coalesce(max(sequence), 0) + 1, $2, $3 from run_log where run = $1
     on conflict (run, metrics_sequence) do nothing`,
    [run, JSON.stringify(MetricPoint.toJSON(point)), position],
  );
}

/** The position in the training of the last metric point in the log, 0 if there is none. */
export async function lastMetricsPosition(database: Queries, run: string): Promise<bigint> {
  const sql = 'select coalesce(max(metrics_sequence), 0) as last from run_log where run = $1';
  return (await database.row<{ last: bigint }>(sql, [run]))?.last ?? 0n;
}

/** Up to `limit` entries with a sequence above `after`, oldest first. */
export async function entriesAfter(database: Queries, run: string, after: bigint, limit: number): Promise<LogEntry[]> {
  const rows = await database.rows<LogRow>(
    'select sequence, event, metrics from run_log where run = $1 and sequence > $2 order by sequence limit $3',
    [run, after, limit],
  );
  return rows.map(toEntry);
}

/** Up to `limit` entries of one kind after a sequence, oldest first. */
export async function entriesOf(
  database: Queries,
  run: string,
  kind: 'event' | 'metrics',
  limit: number,
  after: bigint,
): Promise<LogEntry[]> {
  const rows = await database.rows<LogRow>(
    `select sequence, event, metrics from run_log where run = $1 and sequence > $3 and ${kind} is not null
     order by sequence limit $2`,
    [run, limit, after],
  );
  return rows.map(toEntry);
}

function toEntry({ sequence, event, metrics }: LogRow): LogEntry {
  if (event === null) return { sequence, payload: { $case: 'metrics', value: MetricPoint.fromJSON(metrics) } };
  const value = RunEvent.fromJSON(event);
  // Earlier versions gave events no number of their own.
  if (value.sequence === 0n) value.sequence = sequence;
  return { sequence, payload: { $case: 'event', value } };
}
