import type pg from 'pg';

/** The part of a transaction of libs/platform/database that durable execution needs. */
export interface Transaction {
  rows<Row extends object>(sql: string, parameters?: readonly unknown[]): Promise<Row[]>;
}

/**
 * Presents a transaction as a `pg` client that has only `query`, the only method that DBOS and our own queries call.
 */
export function asClient(tx: Transaction): pg.ClientBase {
  const query = async (sql: string, parameters?: unknown[]) => {
    const rows = await tx.rows(sql, parameters);
    return { rows, rowCount: rows.length };
  };
  return { query } as unknown as pg.ClientBase;
}
