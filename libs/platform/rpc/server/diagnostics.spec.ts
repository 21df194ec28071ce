import { DiagnosticsServiceService } from '@pairwise/api';
import { openDatabase } from '@pairwise/database';
import { testDatabase } from '@pairwise/database/testing';
import { PairwiseError } from '@pairwise/errors';
import { openFolder } from '@pairwise/store';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type DiagnosedProcess, diagnosticsService, errorOf, openClient, startServer, versionIn } from '../index.ts';

let folder: string;
const logged: string[] = [];
const log = { error: (_: object, message: string) => logged.push(message) };
const closing: (() => unknown)[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'diagnostics-'));
  logged.length = 0;
});
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
  rmSync(folder, { recursive: true });
});

function at(address: string) {
  const client = openClient(DiagnosticsServiceService, { address });
  closing.push(() => client.close());
  return client;
}

function databaseAt(url: string) {
  const database = openDatabase({ url, schema: 'public', patienceMs: 100 });
  closing.push(() => database.close());
  return database;
}

/** Starts the server of a process, and a client for it. */
async function serve(subject: Partial<DiagnosedProcess>) {
  const version = versionIn(new URL('../package.json', import.meta.url));
  const parts = { process: 'one', version, queues: () => Promise.resolve([]), log, ...subject } as DiagnosedProcess;
  const server = await startServer({ address: '127.0.0.1:0', services: [diagnosticsService(parts)], log });
  closing.push(() => server.drain(0));
  return at(server.address);
}

test('a process reports on itself, its database, its store and its queues, and leaves no blob behind', async () => {
  const about = {
    version: '0.0.9',
    device: 'cuda:1',
    numericsProfile: 'p',
    engineVersion: '3',
    memoryBytes: '8000000000',
  };
  const client = await serve({
    database: databaseAt((await testDatabase()).url),
    blobs: await openFolder(folder),
    queues: () => Promise.resolve([{ name: 'q', waiting: 2, running: 1, workers: [{ id: 'w', about }] }]),
  });
  const before = Date.now();
  const { processes } = await client.diagnose({});
  const [report] = processes;
  expect(processes).toHaveLength(1);
  expect(report).toMatchObject({ process: 'one', version: '0.1.0', error: undefined, store: { error: undefined } });
  expect(report!.database!.version).toMatch(/^\d+/);
  const { time, processTime } = report!.database!;
  expect(time).toBeInstanceOf(Date);
  for (const ours of [report!.time!, processTime!]) {
    expect(ours.getTime()).toBeGreaterThanOrEqual(before);
    expect(ours.getTime()).toBeLessThanOrEqual(Date.now());
  }
  expect(report!.queues).toMatchObject([
    { name: 'q', waitingCount: 2, runningCount: 1, workers: [{ id: 'w', ...about, memoryBytes: 8_000_000_000n }] },
  ]);
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  expect(files).toEqual([]);
  expect(logged).toEqual([]);
});

test('each part that is down or refuses is reported as an error, and the rest is still reported', async () => {
  const blobs = await openFolder(folder);
  rmSync(join(folder, 'incoming'), { recursive: true });
  writeFileSync(join(folder, 'incoming'), '');
  const client = await serve({
    database: databaseAt('postgres://127.0.0.1:1/x'),
    blobs,
    queues: () => Promise.reject(new PairwiseError('UNAVAILABLE', 'no queues today')),
    peers: { two: at('127.0.0.1:1') },
  });
  const [one, two] = (await client.diagnose({})).processes;
  expect(errorOf(one!.database!.error).reason).toBe('UNAVAILABLE');
  expect(one!.database!.time).toBeUndefined();
  expect(one!.store!.error!.message).toMatch(/the blob store cannot be used \(ENOTDIR\); the log/);
  // Its path belongs in the log only.
  expect(one!.store!.error!.message).not.toContain(folder);
  expect(one!.queuesError!.message).toBe('no queues today');
  expect(two).toMatchObject({ process: 'two', version: '' });
  expect(errorOf(two!.error).reason).toBe('UNAVAILABLE');
  expect(logged.sort()).toEqual(
    ['the blob store', 'the database', 'the queues'].map((what) => `${what} cannot be used`),
  );
});

test('a store that does not answer times out, and one that damages blobs is detected', async () => {
  const database = databaseAt((await testDatabase()).url);
  const { digest } = await (await openFolder(folder)).put(Buffer.from('x'));
  const put = () => Promise.resolve({ digest });
  const never = new Promise<never>(() => undefined);
  const stores: NonNullable<DiagnosedProcess['blobs']>[] = [
    { put: () => never, get: () => never, delete: () => never },
    { put, get: () => Promise.resolve(Buffer.from('other')), delete: () => Promise.resolve() },
  ];
  const checks = stores.map(async (blobs) => {
    const client = await serve({ database, blobs });
    return errorOf((await client.diagnose({})).processes[0]!.store!.error);
  });
  expect((await Promise.all(checks)).map(({ reason, message }) => [reason, message])).toEqual([
    ['UNAVAILABLE', 'the blob store did not answer within 5 s'],
    ['DAMAGED_DATA', 'the blob store returned different bytes than were stored'],
  ]);
});
