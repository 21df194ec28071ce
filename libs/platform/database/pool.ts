import pg from 'pg';

/**
 * Opens a pool that survives the loss of any connection. A connection that dies while idle is replaced at the next
 * query; one that dies while lent fails the query as well. Without the listeners, either would end the process. Nothing
 * connects yet.
 */
export function openPool(config: pg.PoolConfig): pg.Pool {
  const pool = new pg.Pool({ keepAlive: true, connectionTimeoutMillis: 5000, ...config });
  pool.on('error', () => undefined);
  // Registered at once, because a server may die during the handshake.
  pool.on('connect', (client) => client.on('error', () => undefined));
  return pool;
}
