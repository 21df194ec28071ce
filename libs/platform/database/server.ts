import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { PairwiseError } from '@pairwise/errors';
import pg from 'pg';
import { type Cluster, user } from './cluster.ts';
import type { Guard } from './guard.ts';
import { endBackends, stopOrphan } from './staleServer.ts';

const settings = (port: number, throwaway: boolean) =>
  Object.entries({
    port,
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    max_connections: 200,
    // Turns off processes without a use here: I/O workers and replication.
    io_method: 'sync',
    max_logical_replication_workers: 0,
    timezone: 'UTC',
    ...(throwaway ? { fsync: 'off', full_page_writes: 'off' } : {}),
  }).map(([name, value]) => `--${name}=${value}`);

/** The `postgres://` URL of a database in a cluster. */
export const urlOf = (cluster: Cluster, port: number, database: string) =>
  `postgres://${user}:${cluster.password}@127.0.0.1:${port}/${database}`;

/** Whether the server accepts connections yet. Creates the database `pairwise`. */
async function isReady(cluster: Cluster, port: number): Promise<boolean> {
  const client = new pg.Client({ connectionString: urlOf(cluster, port, 'postgres'), connectionTimeoutMillis: 2000 });
  client.on('error', () => undefined);
  try {
    await client.connect();
    const { rowCount } = await client.query("select 1 from pg_database where datname = 'pairwise'");
    if (rowCount === 0) await client.query('create database pairwise');
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** A running server process of a cluster. */
export interface Server {
  process: ChildProcess;
  /** Resolves when the process has ended. */
  ended: Promise<unknown>;
  hasEnded(): boolean;
  /** The last lines that the server logged. */
  lastLines: string[];
}

function spawnServer(cluster: Cluster, parameters: readonly string[], guard: Guard): Server {
  const [program, all] = cluster.account.command(cluster.postgres, ['-D', cluster.folder, ...parameters]);
  // In its own session: Ctrl-C in a terminal must reach the platform first, which stops Postgres last.
  const child = spawn(program, all, {
    ...cluster.account.ids,
    cwd: '/',
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, LC_MESSAGES: 'C' },
  });
  guard.watch(child.pid);
  const lastLines: string[] = [];
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    lastLines.push(...text.split('\n').filter((line) => line !== ''));
    lastLines.splice(0, lastLines.length - 20);
  });
  let over = false;
  const ended = new Promise((resolve) => {
    child.once('error', (error) => lastLines.push(error.message));
    // Also emitted after `error`.
    child.once('close', resolve);
  }).then(() => {
    guard.watch(undefined);
    over = true;
  });
  return { process: child, ended, hasEnded: () => over, lastLines };
}

/** Explains in one line why a server does not start. */
function failureOf({ folder }: Cluster, lastLines: readonly string[]): PairwiseError {
  const failure = `the embedded Postgres in ${folder} does not start`;
  if (lastLines.some((line) => line.includes('No space left on device'))) {
    return new PairwiseError('DISK_FULL', `${failure}, since the disk is full; free some space`);
  }
  // Replies to clients that connect too early do not explain the failure.
  const reasons = lastLines.filter((line) => !/the database system is (starting up|in recovery mode)/.test(line));
  return new PairwiseError('UNAVAILABLE', `${failure}: ${reasons.join('; ')}`);
}

/**
 * Starts the server and waits up to 60 s until it accepts connections. Retries while the remains of a killed server are
 * in the way. Throws DISK_FULL and UNAVAILABLE.
 */
export async function startPostgresServer(
  cluster: Cluster,
  port: number,
  throwaway: boolean,
  guard: Guard,
): Promise<Server> {
  const until = Date.now() + 60_000;
  for (;;) {
    await stopOrphan(cluster.folder);
    const server = spawnServer(cluster, settings(port, throwaway), guard);
    while (!server.hasEnded() && Date.now() < until) {
      if (await isReady(cluster, port)) return server;
      await sleep(30);
    }
    const text = server.lastLines.join('\n');
    const inTheWay = /shared memory block|could not bind|Address already in use|lock file/.test(text);
    if (!server.hasEnded()) server.process.kill('SIGQUIT');
    if (!inTheWay || Date.now() >= until) {
      throw failureOf(cluster, server.lastLines);
    }
    endBackends(cluster.folder);
    await sleep(200);
  }
}
