import pg from 'pg';

/**
 * Opens a pool of connections that survives the loss of any of them. A connection that dies while idle is replaced by the
 * next query, and one that is lent fails the query as well; without listeners either would end the process. No connection
 * is made yet.
 */
export function openPool(config: pg.PoolConfig): pg.Pool {
  const pool = new pg.Pool({ keepAlive: true, connectionTimeoutMillis: 5000, ...config });
  pool.on('error', () => undefined);
  // From the first moment: a server may die while it greets.
  pool.on('connect', (client) => client.on('error', () => undefined));
  return pool;
}
