import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type DatabaseReport,
  DiagnosticsServiceService,
  ProcessReport,
  QueueReport,
  type Status,
  type StoreReport,
  WorkerReport,
} from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import type { Client } from '../client/client.ts';
import { statusOf } from '../messages/failures.ts';
import { service, type Service } from './serve.ts';

/** A queue as reported by `libs/platform/durable`. */
interface Queue {
  name: string;
  waiting: number;
  running: number;
  workers: readonly { id: string; about: Readonly<Record<string, string>> }[];
}

/** The process to diagnose, and what it depends on. */
export interface DiagnosedProcess {
  process: string;
  version: string;
  engineVersion?: string;
  numericsProfile?: string;
  database: { row<Row extends object>(sql: string): Promise<Row | undefined> };
  blobs?: {
    put(content: Uint8Array): Promise<{ digest: `sha256:${string}` }>;
    get(digest: `sha256:${string}`): Promise<Uint8Array>;
    delete(digest: `sha256:${string}`): Promise<void>;
  };
  queues: () => Promise<readonly Queue[]>;
  /** Processes that are diagnosed too, by name. Default: none. */
  peers?: Readonly<Record<string, Client<typeof DiagnosticsServiceService>>>;
  log: { error(fields: object, message: string): void };
}

const checkMs = 5000;
const peerMs = 10_000;

/** Returns the version in a `package.json`. `manifest` is its URL, usually next to the running program. */
export function versionIn(manifest: URL): string {
  return (JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }).version;
}

/** DiagnosticsService of a process; `proto/pairwise/v1/diagnostics.proto` documents it. */
export function diagnosticsService(subject: DiagnosedProcess): Service {
  return service(DiagnosticsServiceService, {
    diagnose: async () => {
      const asked = Object.entries(subject.peers ?? {}).map(([process, peer]) => ask(process, peer));
      return { processes: (await Promise.all([reportOn(subject), ...asked])).flat() };
    },
  });
}

async function ask(process: string, peer: Client<typeof DiagnosticsServiceService>): Promise<ProcessReport[]> {
  try {
    return (await peer.diagnose({}, { deadline: new Date(Date.now() + peerMs) })).processes;
  } catch (error) {
    return [ProcessReport.create({ process, error: statusOf(error) })];
  }
}

async function reportOn(subject: DiagnosedProcess): Promise<ProcessReport> {
  const { process, version, engineVersion = '', numericsProfile = '' } = subject;
  const own = { process, version, engineVersion, numericsProfile, time: new Date() };
  const [database, store, queues] = await Promise.all([
    databaseReport(subject),
    storeReport(subject),
    attempt(subject, 'the queues', subject.queues),
  ]);
  return ProcessReport.create({
    ...own,
    database,
    store,
    queuesError: queues.error,
    queues: (queues.value ?? []).map(queueReport),
  });
}

/** Returns the result of a check, or the reason why it failed or timed out; the log has the full error. */
async function attempt<T>(
  { log }: Pick<DiagnosedProcess, 'log'>,
  what: string,
  check: () => Promise<T>,
): Promise<{ value?: T; error?: Status }> {
  const enough = new AbortController();
  const late = sleep(checkMs, undefined, { signal: enough.signal }).then(() => {
    throw new PairwiseError('UNAVAILABLE', `${what} did not answer within ${checkMs / 1000} s`);
  });
  try {
    return { value: await Promise.race([check(), late]) };
  } catch (error) {
    log.error({ err: error }, `${what} cannot be used`);
    return { error: statusOf(error instanceof PairwiseError ? error : unusable(what, error)) };
  } finally {
    enough.abort();
    late.catch(() => undefined);
  }
}

/** Callers see only the code of a foreign error: its message may contain paths or values. */
function unusable(what: string, error: unknown): PairwiseError {
  const code = error instanceof Error && 'code' in error ? String(error.code) : (error as Error).name;
  return new PairwiseError('WRONG_STATE', `${what} cannot be used (${code}); the log of the process has the details`);
}

async function databaseReport(subject: DiagnosedProcess): Promise<DatabaseReport> {
  const sql = "select current_setting('server_version') as version, clock_timestamp() as time";
  const { value, error } = await attempt(subject, 'the database', async () => {
    // Connects first, if necessary, so that the time does not include it.
    await subject.database.row('select 1');
    const began = Date.now();
    const row = (await subject.database.row<{ version: string; time: Date }>(sql))!;
    return { ...row, processTime: new Date((began + Date.now()) / 2) };
  });
  return { version: '', time: undefined, processTime: undefined, ...value, error };
}

async function storeReport(subject: DiagnosedProcess): Promise<StoreReport | undefined> {
  const { blobs } = subject;
  if (blobs === undefined) return undefined;
  const { error } = await attempt(subject, 'the blob store', () => roundTrip(blobs));
  return { error };
}

/**
 * Writes a small new blob to the store, reads it and deletes it. Throws the store's errors, and DAMAGED_DATA if
 * different bytes come back.
 */
export async function roundTrip(blobs: NonNullable<DiagnosedProcess['blobs']>): Promise<void> {
  const content = randomBytes(32);
  const { digest } = await blobs.put(content);
  try {
    if (!content.equals(await blobs.get(digest))) {
      throw new PairwiseError('DAMAGED_DATA', 'the blob store returned different bytes than were stored');
    }
  } finally {
    await blobs.delete(digest);
  }
}

function queueReport({ name, waiting, running, workers }: Queue): QueueReport {
  return QueueReport.fromPartial({
    name,
    waitingCount: waiting,
    runningCount: running,
    workers: workers.map(({ id, about }) => WorkerReport.fromJSON({ ...about, id })),
  });
}
