import { setTimeout as sleep } from 'node:timers/promises';
import { ensureSystemDatabase } from '@dbos-inc/dbos-sdk/internal/system_database';
import { GlobalLogger } from '@dbos-inc/dbos-sdk/internal/telemetry/logs';
import pg from 'pg';
import { durableSchemaOf, pollMs, quietLogger } from './dbos.ts';
import { tables } from './executors.ts';
import type { Log } from './log.ts';

/** Where durable execution keeps its tables. */
export interface DurableDatabase {
  /** Postgres; the same database as the service's own, so that writes can be fenced. */
  url: string;
  /** The service's schema; what belongs to durable execution lies in `<schema>_durable`. */
  schema: string;
  log: Log;
}

/**
 * Makes DBOS's tables and ours, or brings them up to date; one process at a time, since DBOS does not expect that several
 * start together. The role needs nothing but CREATE on the database.
 */
export async function migrateDurable({ url, schema, log }: DurableDatabase): Promise<void> {
  const durableSchema = durableSchemaOf(schema);
  const lock = `hashtextextended('pairwise durable ${durableSchema}', 0)`;
  const pool = new pg.Pool({ connectionString: url, max: 2, keepAlive: true, connectionTimeoutMillis: 5000 });
  pool.on('error', () => undefined);
  pool.on('connect', (client) => client.on('error', () => undefined));
  try {
    const client = await pool.connect();
    try {
      // Asked for again and again: who waits inside a statement holds a snapshot, for whose end DBOS's `create index
      // concurrently` would wait.
      while (!(await client.query<{ mine: boolean }>(`select pg_try_advisory_lock(${lock}) as mine`)).rows[0]!.mine) {
        await sleep(pollMs);
      }
      // Not by DBOS.migrate, which writes to standard output and looks into the database `postgres`.
      await ensureSystemDatabase(url, new GlobalLogger(undefined, { logger: quietLogger(log) }), pool, durableSchema);
      await client.query(tables(durableSchema));
    } finally {
      // Closes the connection, and with it gives up the lock.
      client.release(true);
    }
  } finally {
    await pool.end();
  }
}
