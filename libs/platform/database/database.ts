import { setTimeout as sleep } from 'node:timers/promises';
import { PairwiseError } from '@pairwise/errors';
import pg from 'pg';
import { asPairwiseError, isConflict, isConnectionLoss } from './failures.ts';
import { openPool } from './pool.ts';

/** The queries of a database or a transaction. Parameters are `$1`, `$2`, ...; int8 values are returned as bigint. */
export interface Queries {
  /** Returns all rows of a statement. */
  rows<Row extends object>(sql: string, parameters?: readonly unknown[]): Promise<Row[]>;
  /** Returns the first row, or undefined if there is none. */
  row<Row extends object>(sql: string, parameters?: readonly unknown[]): Promise<Row | undefined>;
  /** Runs a statement and returns the number of affected rows. */
  run(sql: string, parameters?: readonly unknown[]): Promise<number>;
}

export interface Database extends Queries {
  /** The schema that unqualified table names refer to. */
  readonly schema: string;
  /**
   * Runs `work` in a transaction. If the connection is lost before COMMIT, or Postgres breaks a deadlock, `work` runs
   * again, so it must have no effects except through `tx`.
   */
  transaction<T>(work: (tx: Queries) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

/** How long to wait by default for a database that is restarting or failing over, before throwing UNAVAILABLE. */
const defaultPatienceMs = 20_000;
const pauseMs = 100;

const types: pg.CustomTypesConfig = {
  getTypeParser: (type, format): unknown =>
    type === pg.types.builtins.INT8 && format !== 'binary' ? BigInt : pg.types.getTypeParser(type, format),
};

function schemaName(schema: string): string {
  if (/^[a-z_][a-z0-9_]{0,62}$/.test(schema)) return schema;
  throw new PairwiseError(
    'INVALID_ARGUMENT',
    `database schema ${JSON.stringify(schema)} is not a plain lower-case name`,
  );
}

const bind = (client: pg.PoolClient): Queries => ({
  rows: async <Row extends object>(sql: string, parameters: readonly unknown[] = []) =>
    (await client.query<Row>(sql, [...parameters])).rows,
  row: async <Row extends object>(sql: string, parameters: readonly unknown[] = []) =>
    (await client.query<Row>(sql, [...parameters])).rows[0],
  run: async (sql, parameters = []) => (await client.query(sql, [...parameters])).rowCount ?? 0,
});

/** Repeats `attempt` while it fails with an error that `isRetryable` accepts, until the time is up. */
async function persistFor<T>(
  patienceMs: number,
  attempt: () => Promise<T>,
  isRetryable: (error: unknown) => boolean,
): Promise<T> {
  const until = Date.now() + patienceMs;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (!isRetryable(error) || Date.now() >= until) throw error;
      await sleep(pauseMs);
    }
  }
}

/**
 * Opens a pool on a Postgres database. Unqualified table names refer to `schema` (it sets the search path). Nothing
 * connects yet.
 *
 * If the server is down when a connection is needed, it waits up to 20 s. If the connection is lost during a statement,
 * a SELECT is sent again. Any other statement throws UNAVAILABLE, since nobody knows whether it took effect: use
 * `transaction` for writes, or make the statement idempotent. A full disk throws DISK_FULL. Other errors are those of
 * `pg`. `maxConnections` defaults to 8, `patienceMs` to those 20 s.
 */
export function openDatabase(options: {
  url: string;
  schema: string;
  maxConnections?: number;
  patienceMs?: number;
}): Database {
  const schema = schemaName(options.schema);
  const persist = <T>(attempt: () => Promise<T>, isRetryable: (error: unknown) => boolean) =>
    persistFor(options.patienceMs ?? defaultPatienceMs, attempt, isRetryable);
  const pool = openPool({
    connectionString: options.url,
    max: options.maxConnections ?? 8,
    // A frozen process must not keep its locks.
    options: `-c search_path=${schema} -c idle_in_transaction_session_timeout=20000`,
    connectionTimeoutMillis: 10_000,
    types,
  });

  /** Lends a connection to `work`. A connection that was lost is not returned to the pool. */
  async function lend<T>(work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
    const client = await persist(() => pool.connect(), isConnectionLoss);
    let broken = false;
    try {
      return await work(client);
    } catch (error) {
      broken = isConnectionLoss(error);
      throw error;
    } finally {
      client.release(broken);
    }
  }

  async function single<T>(sql: string, work: (queries: Queries) => Promise<T>): Promise<T> {
    const reads = /^\s*select\b/i.test(sql);
    try {
      return await persist(
        () => lend((client) => work(bind(client))),
        (error) => reads && isConnectionLoss(error),
      );
    } catch (error) {
      throw asPairwiseError(error);
    }
  }

  async function transact<T>(work: (tx: Queries) => Promise<T>, commits: { begun: boolean }): Promise<T> {
    return lend(async (client) => {
      commits.begun = false;
      await client.query('begin');
      let value: T;
      try {
        value = await work(bind(client));
      } catch (error) {
        // If the rollback fails, the connection is gone, and the transaction with it.
        await client.query('rollback').catch(() => undefined);
        throw error;
      }
      commits.begun = true;
      await client.query('commit');
      return value;
    });
  }

  return {
    schema,
    rows: (sql, parameters) => single(sql, (queries) => queries.rows(sql, parameters)),
    row: (sql, parameters) => single(sql, (queries) => queries.row(sql, parameters)),
    run: (sql, parameters) => single(sql, (queries) => queries.run(sql, parameters)),
    transaction: async (work) => {
      const commits = { begun: false };
      try {
        return await persist(
          () => transact(work, commits),
          (error) => isConflict(error) || (isConnectionLoss(error) && !commits.begun),
        );
      } catch (error) {
        throw asPairwiseError(error);
      }
    },
    close: () => pool.end(),
  };
}
