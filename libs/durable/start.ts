import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { GlobalLogger } from '@dbos-inc/dbos-sdk/internal/telemetry/logs';
import { migrateSystemDatabase } from '@dbos-inc/dbos-sdk/internal/system_database';
import pg from 'pg';
import { durableSchemaOf, pollMs, quietLogger } from './dbos.ts';
import type { Body, Durable } from './durable.ts';
import { openExecution } from './execution.ts';
import { tables } from './executors.ts';
import type { Log } from './log.ts';
import { openQueue } from './queue.ts';
import type { Work } from './work.ts';

export interface DurableOptions {
  /** Postgres; the same database as the service's own, so that writes can be fenced. */
  url: string;
  /** The service's schema; what belongs to durable execution lies in `<schema>_durable`. */
  schema: string;
  log: Log;
  /** How long a process may be silent before its work is given to others, in milliseconds. Default 5000. */
  leaseMs?: number;
}

/**
 * Opens durable execution (DBOS) for a service: makes its tables, and can enqueue at once. All processes of a service
 * share the database; a process that dies loses only the step at hand, which another one, or the same one restarted,
 * runs again after `leaseMs`.
 */
export async function startDurable({ url, schema, log, leaseMs = 5000 }: DurableOptions): Promise<Durable> {
  const pool = new pg.Pool({ connectionString: url, max: 4, keepAlive: true, connectionTimeoutMillis: 5000 });
  // A connection that dies while idle is replaced by the next query, and one that is lent fails the query as well; without
  // listeners it would end the process.
  pool.on('error', () => undefined);
  pool.on('connect', (client) => client.on('error', () => undefined));
  const durableSchema = durableSchemaOf(schema);
  await makeTables(url, durableSchema, pool, log);
  const queue = await openQueue(url, schema, pool, log);
  const id = `${hostname()}-${process.pid}-${randomUUID()}`;
  const execution = openExecution({ url, schema, id, leaseMs, pool, log, tries: (workId) => queue.tries(workId) });
  const { enqueue, state, result, cancel, forget } = queue;

  return {
    execute: (work, body) => execution.execute(work as Work<unknown, unknown>, body as Body<unknown, unknown>),
    launch: (queues) => execution.launch(queues),
    enqueue,
    state,
    result,
    cancel,
    forget,
    lives: () => execution.lives(),
    stop: async () => {
      await execution.stop();
      await queue.close();
      await pool.end();
    },
  };
}

/** Makes DBOS's tables and ours; one process at a time, since DBOS does not expect that several start together. */
async function makeTables(url: string, durableSchema: string, pool: pg.Pool, log: Log): Promise<void> {
  const client = await pool.connect();
  const lock = `hashtextextended('pairwise durable ${durableSchema}', 0)`;
  try {
    // Asked for again and again: who waits inside a statement holds a snapshot, for whose end DBOS's `create index
    // concurrently` would wait.
    while (!(await client.query<{ mine: boolean }>(`select pg_try_advisory_lock(${lock}) as mine`)).rows[0]!.mine) {
      await sleep(pollMs);
    }
    // Not by DBOS.migrate, which writes to standard output.
    await migrateSystemDatabase(url, new GlobalLogger(undefined, { logger: quietLogger(log) }), durableSchema);
    await client.query(tables(durableSchema));
  } finally {
    // Closes the connection, and with it gives up the lock.
    client.release(true);
  }
}
