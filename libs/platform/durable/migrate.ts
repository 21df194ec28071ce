import { setTimeout as sleep } from 'node:timers/promises';
import { ensureSystemDatabase } from '@dbos-inc/dbos-sdk/internal/system_database';
import { GlobalLogger } from '@dbos-inc/dbos-sdk/internal/telemetry/logs';
import { type Migration, migrate, openDatabase, openPool } from '@pairwise/database';
import { durableSchemaOf, pollMs, quietLogger } from './dbos.ts';
import { tables } from './dbosTables.ts';
import type { DurableLog } from './log.ts';

/** The database of a service. */
export interface DurableDatabase {
  /**
   * A Postgres database. It holds both the service's own tables and those of durable execution, so that writes can be
   * fenced.
   */
  url: string;
  /** The service's schema. The tables of durable execution are in `<schema>_durable`. */
  schema: string;
  log: DurableLog;
}

/**
 * Creates or updates all tables of a service: its own, and those of durable execution. A deployment runs this before it
 * starts the new version.
 */
export async function migrateService(options: DurableDatabase, migrations: readonly Migration[]): Promise<void> {
  const { schema, log } = options;
  const database = openDatabase(options);
  await migrate(database, migrations);
  await database.close();
  await migrateDurable(options);
  log.info({ schema, migration: migrations.at(-1)?.id }, 'the schema is up to date');
}

/**
 * Creates or updates DBOS's tables and ours. Only one process does so at a time, since DBOS does not expect several to
 * start together. The role needs no privilege but CREATE on the database.
 */
export async function migrateDurable({ url, schema, log }: DurableDatabase): Promise<void> {
  const durableSchema = durableSchemaOf(schema);
  const lock = `hashtextextended('pairwise durable ${durableSchema}', 0)`;
  // DBOS's migrations are a hundred small transactions, which need not each wait for the disk.
  const pool = openPool({ connectionString: url, max: 2, options: '-c synchronous_commit=off' });
  try {
    const client = await pool.connect();
    try {
      // Polls because a process that waits inside a statement holds a snapshot, and DBOS's `create index concurrently`
      // waits until all snapshots are released.
      while (!(await client.query<{ mine: boolean }>(`select pg_try_advisory_lock(${lock}) as mine`)).rows[0]!.mine) {
        await sleep(pollMs);
      }
      // DBOS.migrate would write to standard output and look into the database `postgres`.
      await ensureSystemDatabase(url, new GlobalLogger(undefined, { logger: quietLogger(log) }), pool, durableSchema);
      await client.query(tables(durableSchema));
      // A last transaction that does wait for the disk: once it is on disk, so are all earlier ones.
      await client.query("set synchronous_commit = on; select pg_logical_emit_message(true, 'pairwise', 'migrated')");
    } finally {
      // Closing the connection releases the lock.
      client.release(true);
    }
  } finally {
    await pool.end();
  }
}
