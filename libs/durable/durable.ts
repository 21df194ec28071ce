import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { DBOS, DBOSClient } from '@dbos-inc/dbos-sdk';
import { currentOwnerXid } from '@dbos-inc/dbos-sdk/internal/context';
import { migrateSystemDatabase } from '@dbos-inc/dbos-sdk/internal/system_database';
import { GlobalLogger } from '@dbos-inc/dbos-sdk/internal/telemetry/logs';
import { ROOT_CONTEXT, SpanKind, context as contexts, propagation, trace } from '@opentelemetry/api';
import { PairwiseError } from '@pairwise/errors';
import pg from 'pg';
import { type Attempt, type Running, type Transaction, attemptOf, cancelled } from './attempt.ts';
import { type Executor, join, tables } from './executors.ts';
import { keep, type KeptError, revive } from './failures.ts';
import type { Work } from './work.ts';

/** A logger in pino's form. */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface DurableOptions {
  /** Postgres; the same database as the service's own, so that writes can be fenced. */
  url: string;
  /** The service's schema; what belongs to durable execution lies in `<schema>_durable`. */
  schema: string;
  log: Log;
  /** How long a process may be silent before its work is given to others, in milliseconds. Default 5000. */
  leaseMs?: number;
}

export type Body<Input, Output> = (input: Input, attempt: Attempt) => Promise<Output>;

export type WorkState = 'QUEUED' | 'RUNNING' | 'SUCCEEDED' | 'FAILED';

export interface Durable {
  /**
   * Says how work of a kind is executed by this process; before `launch`. The body is made of steps: what happens
   * between them happens again in every attempt and must be deterministic.
   */
  execute<Input, Output>(work: Work<Input, Output>, body: Body<Input, Output>): void;
  /**
   * Begins to pull work from queues, `queues[name]` pieces at a time in this process. Needed only where work is
   * executed, and only once in a process. A process that enqueues alone leaves it out.
   */
  launch(queues: Record<string, number>): Promise<void>;
  /**
   * Enqueues work under an id, unless there is, or was, work of this id. Inside a transaction of the same database it
   * takes place only if that is committed. The active trace context goes along.
   */
  enqueue<Input, Output>(work: Work<Input, Output>, id: string, input: Input, tx?: Transaction): Promise<void>;
  /** How far work is; undefined where there is none of this id. */
  state(id: string): Promise<WorkState | undefined>;
  /** Waits for the end of work and returns its output, or throws the PairwiseError by which it failed. */
  result<Input, Output>(work: Work<Input, Output>, id: string): Promise<Output>;
  /**
   * Asks for work to be cancelled: within about a second the signal of its step is aborted, and this and all further
   * steps throw CANCELLED, save those that run even then. Nothing happens to work that has ended.
   */
  cancel(id: string, tx?: Transaction): Promise<void>;
  /** Deletes the history of ended work; the id may be used again. */
  forget(id: string): Promise<void>;
  /** Stops executing: running steps are aborted, and their work goes back to the queue for others to take at once. */
  stop(): Promise<void>;
}

/**
 * The URL by which DBOS connects: sessions of a process that is frozen in a transaction end after 20 s, and with them
 * their locks. (DBOS's own way to set this makes `pg` print a warning.)
 */
function withIdleTimeout(url: string): string {
  const changed = new URL(url);
  const options = changed.searchParams.get('options') ?? '';
  changed.searchParams.set('options', `${options} -c idle_in_transaction_session_timeout=20000`.trim());
  return changed.href;
}

/** What is kept as the input of a workflow. */
interface Envelope {
  input: unknown;
  /** W3C trace context (and baggage) of whoever enqueued it. */
  carrier: Record<string, string>;
}

/** What is kept as its output: DBOS would lose the reason of an error. */
type Result = { value: unknown } | { error: KeptError };

/** All processes run work of all versions: steps are kept compatible instead. */
const version = '1';
const attemptLimit = 20;
const pollMs = 200;

const states: Record<string, WorkState> = {
  ENQUEUED: 'QUEUED',
  DELAYED: 'QUEUED',
  PENDING: 'RUNNING',
  SUCCESS: 'SUCCEEDED',
  ERROR: 'FAILED',
  CANCELLED: 'FAILED',
  MAX_RECOVERY_ATTEMPTS_EXCEEDED: 'FAILED',
};

/** DBOS's chatter is of interest to those who look into DBOS. */
const quiet = (log: Log) => {
  const say = (entry: unknown) => {
    log.debug({}, `DBOS: ${String(entry)}`);
  };
  return { info: say, debug: say, warn: say, error: say };
};

const spanNames = { send: (queue: string) => `send ${queue}`, process: (queue: string) => `process ${queue}` };
const messaging = (queue: string, id: string) => ({
  'messaging.system': 'dbos',
  'messaging.destination.name': queue,
  'messaging.message.id': id,
});

/** The context in which work is executed: the enqueuer's trace, continued in a span that is linked to its span. */
function pickUp(queue: string, id: string, carrier: Record<string, string>) {
  const sender = propagation.extract(ROOT_CONTEXT, carrier);
  const sent = trace.getSpanContext(sender);
  const links = sent === undefined ? [] : [{ context: sent }];
  const attributes = messaging(queue, id);
  const span = trace
    .getTracer('pairwise.durable')
    .startSpan(spanNames.process(queue), { kind: SpanKind.CONSUMER, links, attributes }, sender);
  // Work may take hours; its steps are spans of their own.
  span.end();
  return trace.setSpan(sender, span);
}

/**
 * Opens durable execution (DBOS) for a service: makes its tables, and can enqueue at once. All processes of a service
 * share the database; a process that dies loses only the step at hand, which another one, or the same one restarted,
 * runs again after `leaseMs`.
 */
export async function startDurable({ url, schema, log, leaseMs = 5000 }: DurableOptions): Promise<Durable> {
  const durableSchema = `${schema}_durable`;
  const id = `${hostname()}-${process.pid}-${randomUUID()}`;
  const logger = quiet(log);
  const bodies = new Map<string, Body<unknown, unknown>>();
  const running = new Map<string, Running>();
  const stopping = new AbortController();
  const pool = new pg.Pool({ connectionString: url, max: 4, keepAlive: true, connectionTimeoutMillis: 5000 });
  // A connection that dies while idle is replaced by the next query; without a listener it would end the process.
  pool.on('error', () => undefined);
  let executor: Executor | undefined;

  // Not by DBOS.migrate, which writes to standard output.
  await migrateSystemDatabase(url, new GlobalLogger(undefined, { logger }), durableSchema);
  await pool.query(`begin; ${tables(durableSchema)}; commit`);
  const client = await DBOSClient.create({
    systemDatabaseUrl: withIdleTimeout(url),
    systemDatabaseSchemaName: durableSchema,
    applicationName: schema,
    systemDatabasePoolSize: 4,
    logger,
  });

  /** Runs one attempt at work that this process has claimed. */
  async function run(work: Work<unknown, unknown>, { input, carrier }: Envelope): Promise<unknown> {
    const workId = DBOS.workflowID!;
    const owner = currentOwnerXid(workId)!;
    const abort = new AbortController();
    // Not by DBOS.getWorkflowStatus, which would keep the answer of the first attempt.
    const status = await client.retrieveWorkflow(workId).getStatus();
    running.set(owner, { id: workId, owner, abort });
    try {
      const attempt = attemptOf({
        id: workId,
        owner,
        abort,
        schema: durableSchema,
        pool,
        number: status?.recoveryAttempts ?? 1,
        limit: attemptLimit,
        workName: work.name,
        context: pickUp(work.queue, workId, carrier),
        stopping: stopping.signal,
        log,
      });
      return await bodies.get(work.name)!(input, attempt);
    } finally {
      running.delete(owner);
    }
  }

  /** Aborts what was cancelled or taken away. */
  async function lookAfter(connection: pg.Client): Promise<void> {
    if (running.size === 0) return;
    const { rows } = await connection.query<{ owner_xid: string; cancelled: boolean }>(
      `select owner_xid, exists (select 1 from "${durableSchema}".cancellations c
                                 where c.workflow_uuid = w.workflow_uuid) as cancelled
       from "${durableSchema}".workflow_status w where owner_xid = any($1)`,
      [[...running.keys()]],
    );
    const owned = new Map(rows.map((row) => [row.owner_xid, row.cancelled]));
    for (const { id: workId, owner, abort } of running.values()) {
      if (owned.get(owner) === true) abort.abort(cancelled());
      if (!owned.has(owner)) abort.abort(new PairwiseError('STALE_ATTEMPT', `${workId} was given to another process`));
    }
  }

  return {
    execute: (work, body) => {
      bodies.set(work.name, body as Body<unknown, unknown>);
      DBOS.registerWorkflow(
        async (envelope: Envelope): Promise<Result> => {
          try {
            return { value: await run(work as Work<unknown, unknown>, envelope) };
          } catch (error) {
            return { error: keep(error) };
          }
        },
        { name: work.name },
      );
    },
    launch: async (queues) => {
      executor = await join({ url, schema: durableSchema, id, leaseMs, log, onBeat: lookAfter });
      DBOS.setConfig({
        name: schema,
        systemDatabaseUrl: withIdleTimeout(url),
        systemDatabaseSchemaName: durableSchema,
        systemDatabasePoolSize: 6,
        applicationVersion: version,
        executorID: id,
        listenQueues: Object.keys(queues),
        runMigrations: false,
        logger,
      });
      await DBOS.launch();
      for (const [queue, workerConcurrency] of Object.entries(queues)) {
        await DBOS.registerQueue(queue, {
          workerConcurrency,
          minPollingIntervalMs: pollMs,
          onConflict: 'always_update',
        });
      }
    },
    enqueue: async (work, workId, input, tx) => {
      const attributes = messaging(work.queue, workId);
      const span = trace
        .getTracer('pairwise.durable')
        .startSpan(spanNames.send(work.queue), { kind: SpanKind.PRODUCER, attributes });
      const carrier: Record<string, string> = {};
      propagation.inject(trace.setSpan(contexts.active(), span), carrier);
      const options: Parameters<DBOSClient['enqueue']>[0] = {
        workflowName: work.name,
        queueName: work.queue,
        workflowID: workId,
        appVersion: version,
      };
      const envelope: Envelope = { input, carrier };
      try {
        if (tx === undefined) await client.enqueue(options, envelope);
        else await client.enqueueInTransaction(asClient(tx), options, envelope);
      } finally {
        span.end();
      }
    },
    state: async (workId) => {
      const status = await client.retrieveWorkflow(workId).getStatus();
      if (status === null) return undefined;
      const failed = status.status === 'SUCCESS' && 'error' in (status.output as Result);
      return failed ? 'FAILED' : states[status.status];
    },
    result: async (work, workId) => {
      const result = await client.retrieveWorkflow<Result>(workId).getResult({ pollingIntervalMs: pollMs });
      if ('error' in result) throw revive(result.error);
      return result.value as ReturnType<NonNullable<typeof work.types>>;
    },
    cancel: async (workId, tx) => {
      const sql = `insert into "${durableSchema}".cancellations (workflow_uuid) values ($1) on conflict do nothing`;
      if (tx === undefined) await pool.query(sql, [workId]);
      else await tx.rows(sql, [workId]);
    },
    forget: async (workId) => {
      await client.deleteWorkflow(workId);
      await pool.query(`delete from "${durableSchema}".cancellations where workflow_uuid = $1`, [workId]);
    },
    stop: async () => {
      stopping.abort(new PairwiseError('UNAVAILABLE', 'the process is stopping'));
      if (executor !== undefined) await DBOS.shutdown({ deregister: true });
      await executor?.retire();
      await client.destroy();
      await pool.end();
    },
  };
}

/** DBOS asks of the connection that it is lent nothing but `query`. */
function asClient(tx: Transaction): pg.ClientBase {
  const query = async (sql: string, parameters?: unknown[]) => {
    const rows = await tx.rows(sql, parameters);
    return { rows, rowCount: rows.length };
  };
  return { query } as unknown as pg.ClientBase;
}
