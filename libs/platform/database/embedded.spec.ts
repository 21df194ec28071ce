import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest';
import { letPostgresPass, openDatabase, startEmbeddedPostgres } from './index.ts';

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'pairwise-embedded-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

interface Owner {
  child: ChildProcess;
  url: string;
  /** Pid of the server. */
  pid: number;
  /** Pid of a process that holds the server's lifeline. */
  client: number;
}

/** Starts a process that owns the server, and another one that needs it. */
async function owner(): Promise<Owner> {
  const child = fork(join(import.meta.dirname, 'testing.owner.ts'), [folder], { stdio: 'inherit' });
  const [owner] = (await once(child, 'message')) as [Omit<Owner, 'child'>];
  onTestFinished(() => {
    if (isAlive(owner.client)) process.kill(owner.client, 'SIGKILL');
  });
  return { child, ...owner };
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

async function ended(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  const end = once(child, 'exit');
  child.kill(signal);
  await end;
}

test('keeps data, password and port across a restart; uses UTF-8, loopback and private files', async () => {
  const server = await startEmbeddedPostgres({ folder, throwaway: true });
  const database = openDatabase({ url: server.url, schema: 'public' });
  await database.run("create table words as select 'Grüße, 世界' as word");
  expect(await database.row('select inet_server_addr()::text as address')).toEqual({ address: '127.0.0.1/32' });
  await database.close();
  await server.stop();
  expect(statSync(join(folder, 'password')).mode & 0o777).toBe(0o600);
  expect(statSync(folder).mode & 0o077).toBe(0);

  const again = await startEmbeddedPostgres({ folder, throwaway: true });
  expect(again.url).toBe(server.url);
  const reopened = openDatabase({ url: again.url, schema: 'public' });
  expect(await reopened.row('select word from words')).toEqual({ word: 'Grüße, 世界' });
  await reopened.close();
  const wrong = openDatabase({ url: again.url.replace(/:[0-9a-f]{48}@/, ':wrong@'), schema: 'public' });
  await expect(wrong.row('select 1')).rejects.toThrow(/password/);
  await wrong.close();
  await again.stop();
});

test('starts at once after its owner was killed, even if the old server is still running and busy', async () => {
  const { child, url, pid } = await owner();
  const database = openDatabase({ url, schema: 'public' });
  await database.run('create table things as select 1 as one');
  const busy = database.run('insert into things select 2 from pg_sleep(60)').catch((error: unknown) => error);
  await ended(child, 'SIGKILL');
  expect(isAlive(pid)).toBe(true);

  const server = await startEmbeddedPostgres({ folder, throwaway: true });
  expect(server.url).toBe(url);
  expect(server.pid()).not.toBe(pid);
  expect(await busy).toMatchObject({ reason: 'UNAVAILABLE' });
  expect(await database.rows('select one from things')).toEqual([{ one: 1 }]);
  await database.close();
  await server.stop();
});

test('a server whose owner was killed keeps serving other processes, and stops gracefully after the last of them', async () => {
  const { child, url, pid, client } = await owner();
  await ended(child, 'SIGKILL');
  const database = openDatabase({ url, schema: 'public' });
  await database.run('create table things as select 1 as one');
  process.kill(client, 'SIGKILL');
  while (isAlive(pid)) await sleep(20);
  await database.close();
  // It would still exist if the server had not stopped gracefully.
  expect(existsSync(join(folder, 'cluster', 'postmaster.pid'))).toBe(false);

  const server = await startEmbeddedPostgres({ folder, throwaway: true });
  const reopened = openDatabase({ url: server.url, schema: 'public' });
  expect(await reopened.rows('select one from things')).toEqual([{ one: 1 }]);
  await reopened.close();
  await server.stop();
});

test('starts at once after owner and server were killed', async () => {
  const { child, url, pid } = await owner();
  const database = openDatabase({ url, schema: 'public' });
  await database.run('create table things as select 1 as one');
  // A busy backend takes a while to notice that its server is gone.
  const busy = database.run('with n as (select count(*) from generate_series(1, 1e9)) table n').catch(() => undefined);
  const isBusy = "select 1 from pg_stat_activity where query like 'with n%' and state = 'active'";
  while ((await database.row(isBusy)) === undefined) await sleep(20);
  await ended(child, 'SIGKILL');
  process.kill(pid, 'SIGKILL');
  const server = await startEmbeddedPostgres({ folder, throwaway: true });
  await database.close();
  await busy;
  const reopened = openDatabase({ url: server.url, schema: 'public' });
  expect(await reopened.rows('select one from things')).toEqual([{ one: 1 }]);
  await reopened.close();
  await server.stop();
});

test('can be stopped while it starts again after its server was killed', async () => {
  const server = await startEmbeddedPostgres({ folder, throwaway: true });
  process.kill(server.pid()!, 'SIGKILL');
  // Long enough for the death to be noticed, too short for the new server to be ready.
  await sleep(40);
  await server.stop();
  const restarted = await startEmbeddedPostgres({ folder, throwaway: true });
  await restarted.stop();
});

test('a folder owned by a running process is refused, and so is a taken port', async () => {
  const { child } = await owner();
  await expect(startEmbeddedPostgres({ folder, throwaway: true })).rejects.toMatchObject({ reason: 'IN_USE' });
  await ended(child, 'SIGTERM');
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  const { port } = other.address() as { port: number };
  await expect(startEmbeddedPostgres({ folder, port, throwaway: true })).rejects.toMatchObject({ reason: 'IN_USE' });
  other.close();
});

test('a folder inside one that is closed to others works, even as root', async () => {
  const closed = join(folder, 'closed');
  mkdirSync(closed);
  chmodSync(closed, 0o700);
  const server = await startEmbeddedPostgres({ folder: join(closed, 'data', 'postgres'), throwaway: true });
  await server.stop();
});

const rootOnLinux = process.platform === 'linux' && process.getuid?.() === 0;
test.skipIf(!rootOnLinux)('as root, Postgres can pass through a closed folder without any capability', async () => {
  expect(statSync(folder).mode & 0o777).toBe(0o700);
  letPostgresPass(folder);
  expect(statSync(folder).mode & 0o777).toBe(0o710);
  const server = await startEmbeddedPostgres({ folder: join(folder, 'postgres'), throwaway: true });
  expect(readFileSync(`/proc/${server.pid()}/status`, 'utf8')).toMatch(/^CapEff:\t0+$/m);
  await server.stop();
});

test('a server that cannot start says why', async () => {
  const server = await startEmbeddedPostgres({ folder, throwaway: true });
  await server.stop();
  rmSync(join(folder, 'cluster', 'global'), { recursive: true });
  await expect(startEmbeddedPostgres({ folder, throwaway: true })).rejects.toThrow(/does not start: .*pg_control/);
  expect(readFileSync(join(folder, 'port'), 'utf8')).toMatch(/^\d+$/);
});
