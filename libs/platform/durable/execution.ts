import { setTimeout as sleep } from 'node:timers/promises';
import { DBOS } from '@dbos-inc/dbos-sdk';
import { currentOwnerXid } from '@dbos-inc/dbos-sdk/internal/context';
import { isConnectionLoss } from '@pairwise/database';
import { PairwiseError } from '@pairwise/errors';
import type pg from 'pg';
import { type Running, attemptOf, cancelled, isNotKept, stale, untilDone } from './attempt.ts';
import {
  type Envelope,
  type Result,
  durableSchemaOf,
  neverMs,
  quietLogger,
  stopCollecting,
  version,
  withIdleTimeout,
} from './dbos.ts';
import { claimsOf, hasWork, requeue } from './dbosTables.ts';
import { type Dispatcher, startDispatch } from './dispatch.ts';
import type { About, Body } from './durable.ts';
import { type Executor, join } from './executors.ts';
import { keep } from './failures.ts';
import type { DurableLog } from './log.ts';
import { taken } from './traceContext.ts';
import type { Work } from './work.ts';

/** The number of processes that may die during one activity before the work fails. */
const maxAttempts = 20;
const retryMs = 1000;
/** How long activities may take to end when the process stops, in milliseconds. */
const graceMs = 15_000;

export interface ExecutionOptions {
  url: string;
  schema: string;
  /** The name of this process, which is never reused. */
  id: string;
  leaseMs: number;
  pool: pg.Pool;
  log: DurableLog;
  tries(workId: string): Promise<number>;
}

/** Aborts work that was cancelled or taken over. */
async function abortLost(connection: pg.Client, schema: string, running: readonly Running[]): Promise<void> {
  if (running.length === 0) return;
  const ids = running.map(({ id }) => id);
  const claims = new Map((await claimsOf(connection, schema, ids)).map((claim) => [claim.id, claim]));
  for (const { id, owner, abort } of running) {
    const claim = claims.get(id);
    if (claim?.cancelled === true) abort.abort(cancelled());
    if (claim?.owner !== owner) abort.abort(stale(id));
  }
}

/** The part of durable execution that executes work. There is one per process, as DBOS requires. */
export function openExecution(options: ExecutionOptions) {
  const { url, schema, id, leaseMs, pool, log } = options;
  const durableSchema = durableSchemaOf(schema);
  const running = new Set<Running>();
  const stopping = new AbortController();
  const busy = new Set<Promise<unknown>>();
  let pulled: string[] = [];
  let executor: Executor | undefined;
  let dispatcher: Dispatcher | undefined;

  /** Runs one attempt at work that this process has claimed. */
  async function run(work: Work<unknown, unknown>, body: Body<unknown, unknown>, envelope: Envelope): Promise<Result> {
    const workId = DBOS.workflowID!;
    const one: Running = { id: workId, owner: currentOwnerXid(workId)!, abort: new AbortController() };
    running.add(one);
    try {
      const attempt = attemptOf({
        ...one,
        schema: durableSchema,
        pool,
        leaseMs,
        tries: await options.tries(workId),
        maxAttempts,
        workName: work.name,
        context: taken(work.queue, workId, envelope.carrier),
        stopping: stopping.signal,
        busy,
        log,
      });
      return { value: await body(envelope.input, attempt) };
    } catch (error) {
      if (isNotKept(error)) {
        log.warn({ err: error, workflow: workId }, `${workId} will be repeated`);
        // DBOS cannot store the result of this attempt either, so it waits for the result of the next one.
        await untilDone(() => requeue(pool, durableSchema, workId, one.owner), { stopping: stopping.signal, log });
      }
      if (!(error instanceof PairwiseError))
        log.error({ err: error, workflow: workId }, `${workId} failed because of a bug`);
      return { error: keep(error) };
    } finally {
      running.delete(one);
    }
  }

  /** Whether this process executes anything, or anything waits in its queues. True if Postgres cannot be reached. */
  async function isBusy(): Promise<boolean> {
    try {
      return await hasWork(pool, durableSchema, id, pulled);
    } catch (error) {
      if (!isConnectionLoss(error)) throw error;
      return true;
    }
  }

  return {
    execute: (work: Work<unknown, unknown>, body: Body<unknown, unknown>): void => {
      DBOS.registerWorkflow((envelope: Envelope) => run(work, body, envelope), { name: work.name });
    },
    launch: async (queues: Record<string, number>, about: About = {}): Promise<void> => {
      pulled = Object.keys(queues);
      const joined = await join({
        id,
        queues: pulled,
        about,
        url,
        service: schema,
        schema: durableSchema,
        leaseMs,
        log,
        // A copy, since work that begins during the query must not look as if it had no owner.
        onBeat: (connection) => abortLost(connection, durableSchema, [...running]),
        onWork: () => dispatcher?.ring(),
      });
      executor = joined;
      DBOS.setConfig({
        name: schema,
        systemDatabaseUrl: withIdleTimeout(url),
        systemDatabaseSchemaName: durableSchema,
        systemDatabasePoolSize: 6,
        applicationVersion: version,
        executorID: id,
        listenQueues: pulled,
        runMigrations: false,
        // For DBOS's messages, which we do not use: each process would look for some to send every 10 ms.
        useListenNotify: false,
        schedulerPollingIntervalMs: neverMs,
        logger: quietLogger(log),
      });
      await DBOS.launch();
      stopCollecting();
      dispatcher = await startDispatch(queues, () => joined.isBusy(), stopping.signal);
    },
    untilIdle: async (quietMs = 2 * leaseMs): Promise<void> => {
      let quietSince = (await isBusy()) ? Infinity : Date.now();
      while (Date.now() - quietSince < quietMs) {
        await sleep(retryMs);
        if (await isBusy()) quietSince = Infinity;
        else if (quietSince === Infinity) quietSince = Date.now();
      }
    },
    isAlive: (): boolean => executor?.isAlive() ?? true,
    stop: async (): Promise<void> => {
      stopping.abort(new PairwiseError('UNAVAILABLE', 'the process is stopping'));
      if (executor === undefined) return;
      await Promise.race([Promise.allSettled(busy), sleep(graceMs, undefined, { ref: false })]);
      await dispatcher?.ended;
      await DBOS.shutdown({ deregister: true });
      await executor.retire();
    },
  };
}
