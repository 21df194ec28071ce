import { join, resolve } from 'node:path';
import type { Stream } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { letPostgresPass, startEmbeddedPostgres, type EmbeddedPostgres } from '@pairwise/database';
import { PairwiseError } from '@pairwise/errors';
import { type Access, checkAccess, startFront } from '@pairwise/rpc';
import { defaultAddress } from '../address.ts';
import { compileAhead } from './compileAhead.ts';
import { type Surroundings, processEnvironment, healthAddress, listeners, servers } from './environment.ts';
import { openLiveness, untilReady } from './health.ts';
import type { LogLine } from './lines.ts';
import { closeFolder, lockFolder } from './lock.ts';
import { checkFree, freePorts, splitAddress } from './ports.ts';
import { type PlatformProcess, type ProcessName, processes } from './processes.ts';
import { checkDatabase, checkTokens } from './preconditions.ts';
import { type Supervised, supervise } from './supervise.ts';

export interface PlatformOptions extends Pick<Access, 'tls' | 'tokenFile' | 'accessFile' | 'insecure'> {
  /** Postgres, blobs and caches. Created if missing, and made private. One platform at a time. */
  dataFolder: string;
  /** `host:port` of the front; port 0 picks a free one. Default: `127.0.0.1:7410`. */
  address?: string | undefined;
  /** An existing Postgres. Default: an embedded one in the data folder. */
  databaseUrl?: string | undefined;
  /**
   * Folders below which `file://` may read models. Default: PAIRWISE_MODEL_ROOTS; if that is not set, the working folder and
   * the home folder on loopback, and none otherwise.
   */
  modelRoots?: readonly string[] | undefined;
  /** Environment of the processes, to which the platform adds its own variables. Default: that of this process. */
  environment?: NodeJS.ProcessEnv | undefined;
  /** Called with every event. Default: none. */
  log?: ((line: LogLine) => void) | undefined;
  /** Aborts starting. */
  signal?: AbortSignal | undefined;
}

export interface Platform {
  /** `host:port` of the front, for clients. */
  address: string;
  databaseUrl: string;
  /** Current pid of a process; undefined while it restarts, and for an existing Postgres. */
  pid(name: ProcessName | 'postgres'): number | undefined;
  /** Stops everything gracefully: front and orchestrator, then the other processes, then Postgres. */
  stop(): Promise<void>;
  /** Kills the processes. The next start repeats what they were doing. */
  kill(): void;
}

const startTimeoutMs = 180_000;
const stopTimeoutMs = 20_000;

type LogEvent = (level: 'info' | 'warn' | 'error', msg: string, fields?: object) => void;

/** Starts every process and waits until all are ready. */
async function startProcesses(
  surroundings: Surroundings,
  lifeline: Stream | undefined,
  log: (line: LogLine) => void,
  started: Map<string, Supervised>,
  signal: AbortSignal,
): Promise<void> {
  for (const one of processes as readonly PlatformProcess[]) {
    const environment = processEnvironment(one, surroundings);
    const address = healthAddress(one, surroundings.ports);
    const check = (gone: AbortSignal) => untilReady(address, gone);
    const liveness = () => openLiveness(address);
    const { name, program } = one;
    started.set(name, supervise({ name, program, environment, lifeline, check, liveness, log }));
  }
  const over = new AbortController();
  const patience = sleep(startTimeoutMs, undefined, { signal: AbortSignal.any([signal, over.signal]) });
  const late = patience.then(
    () => Promise.reject(new PairwiseError('UNAVAILABLE', `the platform is not up after ${startTimeoutMs / 1000} s`)),
    () => signal.throwIfAborted(),
  );
  try {
    await Promise.race([late, Promise.all([...started.values()].map(({ ready }) => ready))]);
  } finally {
    over.abort();
    late.catch(() => undefined);
  }
}

async function stopProcesses(started: Map<string, Supervised>): Promise<void> {
  // The orchestrator drives the others, so it stops first.
  await started.get('orchestrator')?.stop(stopTimeoutMs);
  await Promise.all([...started.values()].map((one) => one.stop(stopTimeoutMs)));
}

/**
 * Starts the whole platform on one machine as supervised processes: Postgres (unless one is given), the five services and
 * their workers, and the front. A process that dies or does not respond for 30 seconds is restarted. Resolves when
 * everything is ready.
 *
 * If this process is killed, the others exit within 20 seconds, and Postgres after them. If the platform is started again
 * before that, it takes over.
 * Throws IN_USE for a folder or address in use, INVALID_ARGUMENT for unusable options, and UNAVAILABLE with the last output
 * of a process that does not start.
 */
export async function startPlatform(options: PlatformOptions): Promise<Platform> {
  const { address = defaultAddress, log = () => undefined, signal = new AbortController().signal } = options;
  const { tls, tokenFile, accessFile, insecure } = options;
  const access = { address, tls, tokenFile, accessFile, insecure };
  const logEvent: LogEvent = (level, msg, fields = {}) =>
    log({ time: new Date().toISOString(), level, service: 'up', msg, ...fields });
  const { port } = splitAddress(address);
  checkAccess(access);
  checkTokens(access);
  await checkFree(address);
  const dataFolder = resolve(options.dataFolder);
  const began = Date.now();

  const undo = new AsyncDisposableStack();
  try {
    undo.defer(lockFolder(dataFolder));
    if (!closeFolder(dataFolder)) {
      logEvent('warn', `other users can read ${dataFolder}; ask its owner to run chmod 700 on it`);
    }
    let postgres: EmbeddedPostgres | undefined;
    let { databaseUrl } = options;
    if (databaseUrl === undefined) {
      logEvent('info', 'starting Postgres', { folder: join(dataFolder, 'postgres') });
      letPostgresPass(dataFolder);
      const logPostgres = (msg: string) =>
        log({ time: new Date().toISOString(), level: 'info', service: 'postgres', msg });
      const compiling = compileAhead(dataFolder, options.environment ?? process.env);
      postgres = await startEmbeddedPostgres({ folder: join(dataFolder, 'postgres'), log: logPostgres });
      undo.defer(() => postgres?.stop());
      await compiling;
      databaseUrl = postgres.url;
    } else {
      await checkDatabase(databaseUrl);
    }
    signal.throwIfAborted();

    const ports = await freePorts(listeners.length, port);
    const { environment = process.env, modelRoots } = options;
    const surroundings = { environment, dataFolder, databaseUrl, address, ports, tokenFile, accessFile, modelRoots };
    const started = new Map<string, Supervised>();
    undo.defer(() => stopProcesses(started));
    logEvent('info', 'starting the services');
    await startProcesses(surroundings, postgres?.lifeline, log, started, signal);

    const routes = Object.fromEntries(
      servers.flatMap(({ services }, index) => services.map((name) => [name, `127.0.0.1:${ports[index]!}`])),
    );
    const front = await startFront({
      ...access,
      routes,
      log: { error: (fields, msg) => logEvent('error', msg, fields) },
    });
    // Stops together with the orchestrator, whose watches keep the front's connections open.
    undo.defer(async () => {
      await Promise.all([front.stop(), started.get('orchestrator')?.stop(stopTimeoutMs)]);
    });
    logEvent('info', `Pairwise is up on ${front.address}`, { data: dataFolder, seconds: (Date.now() - began) / 1000 });

    return {
      address: front.address,
      databaseUrl,
      pid: (name) => (name === 'postgres' ? postgres?.pid() : started.get(name)?.pid()),
      stop: async () => {
        logEvent('info', 'stopping');
        await undo.disposeAsync();
        logEvent('info', 'Pairwise has stopped');
      },
      kill: () => started.forEach((one) => one.kill()),
    };
  } catch (error) {
    await undo.disposeAsync();
    throw error;
  }
}
