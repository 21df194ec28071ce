import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { openDatabase } from '@pairwise/database';
import { testDatabase } from '@pairwise/database/testing';
import { startDurable, work } from '@pairwise/durable';
import { makeAuthority } from '@pairwise/rpc/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { temporaryFolder } from './platform.ts';
import { lockDown } from './testing.ts';

// All services on one database, over TLS, with a role that has CREATE on it and no other privilege.

const services = ['dataset', 'reference', 'training', 'export', 'orchestrator'];
const programs = [
  ...services.map((service) => `${service}/main.ts`),
  'reference/worker.ts',
  'training/worker.ts',
  ...services.map((service) => `${service}/migrate.ts`),
];
/** Contains characters that must be escaped in a URL. */
const password = 'p@s:s/w?o#r%d& +=';

const { folder, remove } = temporaryFolder();
const otherAuthority = join(folder, 'other.crt');
let url: URL;

beforeAll(async () => {
  const { server } = await testDatabase();
  url = await lockDown(server, folder, password);
  writeFileSync(otherAuthority, makeAuthority().cert);
});
afterAll(remove);

/** Runs a program of a service and waits until it ends. */
async function run(program: string, environment: Record<string, string>) {
  const child = spawn(process.execPath, [join(import.meta.dirname, '../../../services', program)], {
    env: { PATH: process.env['PATH'], ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
  return { stdout, stderr, code: child.exitCode };
}

const hasPassword = (output: string) => output.includes(password) || output.includes(url.password);

test("each service's migrate.ts creates its tables and those of DBOS once, and logs one line", async () => {
  // Each twice, and all at once, because the jobs of two releases may overlap.
  const twice = [...services, ...services];
  const ended = await Promise.all(twice.map((service) => run(`${service}/migrate.ts`, { DATABASE_URL: url.href })));
  for (const [index, { stdout, stderr, code }] of ended.entries()) {
    expect({ stderr, code }).toEqual({ stderr: '', code: 0 });
    const line = { level: 'info', schema: twice[index], msg: 'the schema is up to date' };
    expect(
      stdout
        .trim()
        .split('\n')
        .map((each) => JSON.parse(each) as object),
    ).toMatchObject([line]);
  }
  const database = openDatabase({ url: url.href, schema: 'public' });
  const tables = await database.rows<{ schema: string }>(
    `select schemaname as schema from pg_tables where tablename in ('migrations', 'dbos_migrations', 'executors')`,
  );
  expect(tables.map(({ schema }) => schema).sort()).toEqual(
    services.flatMap((schema) => [schema, `${schema}_durable`, `${schema}_durable`]).sort(),
  );
  const rights = `select rolsuper or rolcreatedb or rolcreaterole as more from pg_roles where rolname = current_user`;
  expect(await database.row(rights)).toEqual({ more: false });
  await expect(database.run('create database another')).rejects.toThrow(/permission denied/);
  await database.close();
});

test('durable work uses only TLS connections: in the pool, in DBOS and for heartbeats', async () => {
  const silent = () => undefined;
  const log = { debug: silent, info: silent, warn: silent, error: silent };
  const durable = await startDurable({ url: url.href, schema: 'training', log });
  const double = work<number, number>('double', 'test');
  durable.execute(double, (input, attempt) => attempt.activity('double', () => Promise.resolve(input * 2)));
  await durable.launch({ test: 1 });
  await durable.enqueue(double, 'a', 21);
  expect(await durable.result(double, 'a')).toBe(42);
  const database = openDatabase({ url: url.href, schema: 'training' });
  const sessions = await database.rows<{ ssl: boolean }>(
    'select ssl from pg_stat_ssl join pg_stat_activity using (pid) where usename = current_user',
  );
  expect(sessions.length).toBeGreaterThan(3);
  expect(sessions.every(({ ssl }) => ssl)).toBe(true);
  await database.close();
  await durable.stop();
});

test.each([
  ['a wrong certificate authority', (bad: URL) => bad.searchParams.set('sslrootcert', otherAuthority), /certificate/],
  ['no TLS', (bad: URL) => (bad.search = ''), /pg_hba|reject/],
  ['a wrong password', (bad: URL) => (bad.password = `${bad.password}x`), /password authentication failed/],
  ['a database that does not exist', (bad: URL) => (bad.pathname = '/nowhere'), /does not exist|permission denied/],
])('%s: the process ends with a helpful message that does not contain the password', async (_, spoil, message) => {
  const bad = new URL(url);
  spoil(bad);
  const { stdout, stderr, code } = await run('export/migrate.ts', { DATABASE_URL: bad.href });
  expect(code).toBe(1);
  expect(stderr).toMatch(message);
  expect(stderr).not.toMatch(/^\s+at /m);
  expect(hasPassword(stdout + stderr)).toBe(false);
});

test.each(programs)('%s reports all problems of its environment at once, and exits with 2', async (program) => {
  const nowhere = join(folder, 'nowhere');
  const bad = new URL(url);
  bad.searchParams.set('sslrootcert', nowhere);
  const { stderr, code } = await run(program, {
    DATABASE_URL: bad.href,
    PAIRWISE_LISTEN: 'anywhere',
    PAIRWISE_DATA: join(folder, 'ca.crt', 'data'),
    PAIRWISE_THREADS: 'many',
    PAIRWISE_TOKEN_FILE: nowhere,
    PAIRWISE_TLS_CA: nowhere,
    PAIRWISE_BLOB_URL: 'ftp://host/blobs',
  });
  const used = stderr.split('\n').flatMap((line) => /^ {2}(?:\w+ of )?([A-Z_]+) /.exec(line)?.[1] ?? []);
  const reads = {
    main: ['DATABASE_URL', 'PAIRWISE_LISTEN', 'PAIRWISE_TLS_CA', 'PAIRWISE_TOKEN_FILE'],
    worker: ['DATABASE_URL', 'PAIRWISE_BLOB_URL', 'PAIRWISE_DATA', 'PAIRWISE_THREADS'],
    migrate: ['DATABASE_URL'],
  };
  const [, kind] = program.split(/[/.]/) as [string, keyof typeof reads];
  expect(used).toEqual(expect.arrayContaining(reads[kind]));
  expect(code).toBe(2);
  expect(stderr).not.toMatch(/^\s+at /m);
  expect(hasPassword(stderr)).toBe(false);
});
