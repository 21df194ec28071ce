import { join, resolve } from 'node:path';
import type { Stream } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { letPostgresPass, openDatabase, startEmbeddedPostgres, type EmbeddedPostgres } from '@pairwise/database';
import { PairwiseError } from '@pairwise/errors';
import { type Access, checkAccess, openSecurity, openTokens, startFront } from '@pairwise/rpc';
import { defaultAddress } from '../address.ts';
import { type Surroundings, environmentOf, healthAddress, listeners, servers } from './environment.ts';
import { openLiveness, untilReady } from './health.ts';
import type { LogLine } from './lines.ts';
import { closeFolder, lockFolder } from './lock.ts';
import { checkFree, freePorts, splitAddress } from './ports.ts';
import { type PlatformProcess, type ProcessName, processes } from './processes.ts';
import { type Supervised, supervise } from './supervise.ts';

export interface PlatformOptions extends Pick<Access, 'tls' | 'tokenFile' | 'accessFile' | 'insecure'> {
  /** Made if missing, and closed to other users: Postgres, blobs, caches. One platform at a time. */
  dataFolder: string;
  /** The front's `host:port`; port 0 takes any free one. Default `127.0.0.1:7410`. */
  address?: string | undefined;
  /** A Postgres of one's own. Default: an embedded one in the data folder. */
  databaseUrl?: string | undefined;
  /**
   * Folders below which models are read by `file://`. Default: PAIRWISE_MODEL_ROOTS; without it, on loopback the working
   * folder and the home, else none.
   */
  modelRoots?: readonly string[] | undefined;
  /** Variables for the processes besides those that the platform sets. Default: this process's. */
  environment?: NodeJS.ProcessEnv | undefined;
  /** Told of every event. Default: silent. */
  log?: ((line: LogLine) => void) | undefined;
  /** Gives up starting. */
  signal?: AbortSignal | undefined;
}

export interface Platform {
  /** `host:port` of the front: all that clients need. */
  address: string;
  databaseUrl: string;
  /** Pid of a process as it is now; undefined while it is being started again, and for a Postgres of one's own. */
  pid(name: ProcessName | 'postgres'): number | undefined;
  /** Stops everything in order: front and orchestrator, the other processes, Postgres. */
  stop(): Promise<void>;
  /** Ends the processes at once; what they were doing is done again after the next start. */
  kill(): void;
}

const startTimeoutMs = 180_000;
const stopTimeoutMs = 20_000;
/** Somebody waits at the terminal. */
const databasePatienceMs = 3000;

type Tell = (level: 'info' | 'warn' | 'error', msg: string, fields?: object) => void;

/** A database that cannot be reached is told of at once, and not by seven processes. */
async function checkDatabase(url: string): Promise<void> {
  const database = openDatabase({ url, schema: 'public', maxConnections: 1, patienceMs: databasePatienceMs });
  try {
    await database.row('select 1');
  } catch (error) {
    const message = `the database of DATABASE_URL cannot be used: ${(error as Error).message}`;
    throw new PairwiseError('UNAVAILABLE', message, { field: 'DATABASE_URL', cause: error });
  } finally {
    await database.close();
  }
}

/** Files of tokens that are unusable are told of at once, and not by seven processes. */
function checkTokens(access: Access): void {
  const log = { error: () => undefined };
  const token = openSecurity({ tokenFile: access.tokenFile }, log).token?.();
  const holder = openTokens(access, log)(token === undefined ? undefined : `Bearer ${token}`);
  if (access.accessFile === undefined || holder?.roles['*'] === 'admin') return;
  throw new PairwiseError(
    'INVALID_ARGUMENT',
    'the processes need a token for calling each other: name its file with --token-file, and in the access file give it ' +
      'the role admin on *',
    { field: 'PAIRWISE_TOKEN_FILE' },
  );
}

/** Starts every process and waits until all are ready. */
async function startProcesses(
  surroundings: Surroundings,
  lifeline: Stream | undefined,
  log: (line: LogLine) => void,
  started: Map<string, Supervised>,
  signal: AbortSignal,
): Promise<void> {
  for (const one of processes as readonly PlatformProcess[]) {
    const environment = environmentOf(one, surroundings);
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
  // First the one that drives the others.
  await started.get('orchestrator')?.stop(stopTimeoutMs);
  await Promise.all([...started.values()].map((one) => one.stop(stopTimeoutMs)));
}

/**
 * Brings the whole platform up on one machine, in its own processes, supervised: Postgres (unless one is named), the five
 * services and their workers, and the front. A process that dies, or shows no life for 30 seconds, is started again.
 * Resolves when all is ready.
 *
 * Should this process be killed, the others end by themselves within 20 seconds, and Postgres after them; a start before
 * that takes over what they left.
 * Throws IN_USE for a folder or an address that is taken, INVALID_ARGUMENT for what cannot be used, UNAVAILABLE with its
 * last words for a process that does not start.
 */
export async function startPlatform(options: PlatformOptions): Promise<Platform> {
  const { address = defaultAddress, log = () => undefined, signal = new AbortController().signal } = options;
  const { tls, tokenFile, accessFile, insecure } = options;
  const access = { address, tls, tokenFile, accessFile, insecure };
  const tell: Tell = (level, msg, fields = {}) =>
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
      tell('warn', `other users can look into ${dataFolder}; have its owner close it with chmod 700`);
    }
    let postgres: EmbeddedPostgres | undefined;
    let { databaseUrl } = options;
    if (databaseUrl === undefined) {
      tell('info', 'starting Postgres', { folder: join(dataFolder, 'postgres') });
      letPostgresPass(dataFolder);
      const toldBy = (msg: string) => log({ time: new Date().toISOString(), level: 'info', service: 'postgres', msg });
      postgres = await startEmbeddedPostgres({ folder: join(dataFolder, 'postgres'), log: toldBy });
      undo.defer(() => postgres?.stop());
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
    tell('info', 'starting the services');
    await startProcesses(surroundings, postgres?.lifeline, log, started, signal);

    const routes = Object.fromEntries(
      servers.flatMap(({ services }, index) => services.map((name) => [name, `127.0.0.1:${ports[index]!}`])),
    );
    const front = await startFront({
      ...access,
      routes,
      log: { error: (fields, msg) => tell('error', msg, fields) },
    });
    // Beside the orchestrator, whose watches keep the front's connections open until it ends them.
    undo.defer(async () => {
      await Promise.all([front.stop(), started.get('orchestrator')?.stop(stopTimeoutMs)]);
    });
    tell('info', `Pairwise is up on ${front.address}`, { data: dataFolder, seconds: (Date.now() - began) / 1000 });

    return {
      address: front.address,
      databaseUrl,
      pid: (name) => (name === 'postgres' ? postgres?.pid() : started.get(name)?.pid()),
      stop: async () => {
        tell('info', 'stopping');
        await undo.disposeAsync();
        tell('info', 'Pairwise has stopped');
      },
      kill: () => started.forEach((one) => one.kill()),
    };
  } catch (error) {
    await undo.disposeAsync();
    throw error;
  }
}
