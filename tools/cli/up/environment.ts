import { availableParallelism, homedir } from 'node:os';
import { resolve } from 'node:path';
import { isLoopback } from '@pairwise/rpc';
import { compiledFolder } from './compileAhead.ts';
import { type PlatformProcess, processes } from './processes.ts';

/** The processes that serve the API, in the order of their ports. */
export const servers = processes.filter((one) => 'variable' in one);

/** All processes in the order of their ports. */
export const listeners: readonly PlatformProcess[] = [...servers, ...processes.filter((one) => !('variable' in one))];

/** Where a process answers health checks: a server on its own port, a worker on a dedicated one. */
export function healthAddress({ name }: PlatformProcess, ports: readonly number[]): string {
  return `127.0.0.1:${ports[listeners.findIndex((one) => one.name === name)] ?? 0}`;
}

/** Variables for the front and for clients, which the processes behind the front must not inherit. */
const frontOnly = new Set([
  'PAIRWISE_ADDRESS',
  'PAIRWISE_LISTEN',
  'PAIRWISE_HEALTH_LISTEN',
  'PAIRWISE_TLS_CERT',
  'PAIRWISE_TLS_KEY',
  'PAIRWISE_TLS_CA',
  'PAIRWISE_ACCESS_FILE',
  'PAIRWISE_INSECURE',
  'PAIRWISE_MODEL_ROOTS',
]);

/** What all processes of a platform have in common. */
export interface Surroundings {
  environment: NodeJS.ProcessEnv;
  dataFolder: string;
  databaseUrl: string;
  /** `host:port` of the front. */
  address: string;
  /** Ports of the `listeners`, in the same order. */
  ports: readonly number[];
  tokenFile: string | undefined;
  accessFile: string | undefined;
  modelRoots: readonly string[] | undefined;
}

/** Folders below which `file://` may read models. Default on loopback: the working folder and the home folder. */
function rootsOf({ modelRoots, environment, address }: Surroundings): string {
  if (modelRoots !== undefined) return modelRoots.map((folder) => resolve(folder)).join(':');
  const named = environment['PAIRWISE_MODEL_ROOTS'];
  if (named !== undefined && named !== '') return named;
  return isLoopback(address) ? [process.cwd(), homedir()].join(':') : '';
}

/** The environment of a process of the platform. */
export function processEnvironment(one: PlatformProcess, surroundings: Surroundings): NodeJS.ProcessEnv {
  const { environment, dataFolder, databaseUrl, ports, tokenFile, accessFile } = surroundings;
  const addresses = Object.fromEntries(
    servers.map(({ variable }, index) => [variable, `127.0.0.1:${ports[index] ?? 0}`]),
  );
  return {
    NODE_COMPILE_CACHE: compiledFolder(dataFolder),
    PAIRWISE_THREADS: String(availableParallelism()),
    ...Object.fromEntries(Object.entries(environment).filter(([name]) => !frontOnly.has(name))),
    ...addresses,
    PAIRWISE_DATA: dataFolder,
    DATABASE_URL: databaseUrl,
    // They listen on loopback without TLS, as the front expects, but still require the token.
    ...(tokenFile === undefined ? {} : { PAIRWISE_TOKEN_FILE: resolve(tokenFile) }),
    ...(accessFile === undefined ? {} : { PAIRWISE_ACCESS_FILE: resolve(accessFile) }),
    [one.variable === undefined ? 'PAIRWISE_HEALTH_LISTEN' : 'PAIRWISE_LISTEN']: healthAddress(one, ports),
    ...(one.name === 'dataset' ? { PAIRWISE_MODEL_ROOTS: rootsOf(surroundings) } : {}),
  };
}
