import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { processEnvironment } from './environment.ts';
import { formatLine, readLine } from './lines.ts';
import { closeFolder, lockFolder } from './lock.ts';
import { startPlatform } from './platform.ts';
import { checkFree, freePorts } from './ports.ts';

let folder = '';
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'up-'))));
afterEach(() => rmSync(folder, { recursive: true }));

test('a folder has one owner at a time, and the lock of a dead one is ignored', async () => {
  const data = join(folder, 'data');
  const release = lockFolder(data);
  expect(() => lockFolder(data)).toThrow(`process ${process.pid} is running Pairwise on`);
  release();
  lockFolder(data)();
  expect(existsSync(join(data, 'lock'))).toBe(false);
  const dead = spawn(process.execPath, ['--version'], { stdio: 'ignore' });
  await once(dead, 'exit');
  for (const holder of [`${dead.pid!} gone`, `${process.pid} 1`, '']) {
    writeFileSync(join(data, 'lock'), holder);
    lockFolder(data)();
  }
});

test('a new folder is made private, and so is one that an earlier version left open', () => {
  const mode = (path: string) => statSync(path).mode & 0o777;
  const data = join(folder, 'new');
  const release = lockFolder(data);
  expect([mode(data), mode(join(data, 'lock'))]).toEqual([0o700, 0o600]);
  release();
  const old = join(folder, 'old');
  mkdirSync(old, { mode: 0o755 });
  expect(closeFolder(old)).toBe(true);
  expect(mode(old)).toBe(0o700);
});

test('an unusable data folder is reported', () => {
  writeFileSync(join(folder, 'file'), '');
  expect(() => lockFolder(join(folder, 'file/data'))).toThrow(
    /cannot be created \(ENOTDIR\); choose another with --data/,
  );
  expect(() => lockFolder(join(folder, 'file'))).toThrow(/cannot be created \(EEXIST\)/);
});

test('an address that is in use or invalid is reported before anything starts', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = `127.0.0.1:${(server.address() as { port: number }).port}`;
  await expect(startPlatform({ dataFolder: folder, address })).rejects.toThrow(`${address} is in use`);
  server.close();
  await expect(checkFree('127.0.0.1')).rejects.toThrow(/it must be host:port/);
  await expect(checkFree('127.0.0.1:70000')).rejects.toThrow(/it must be host:port/);
  await expect(checkFree('192.0.2.1:7410')).rejects.toThrow(/cannot listen on 192.0.2.1:7410/);
});

test('other machines are accepted only with TLS and token', async () => {
  const start = startPlatform({ dataFolder: folder, address: '0.0.0.0:0' });
  await expect(start).rejects.toThrow(/other machines can reach 0.0.0.0:0/);
});

test('with an access file, the processes need a token in it that is admin on all projects', async () => {
  const [tokenFile, accessFile] = ['token', 'access'].map((name) => join(folder, name)) as [string, string];
  const token = 'a-token-of-enough-length';
  writeFileSync(tokenFile, token);
  const access = (roles: Record<string, string>) => {
    const sha256 = createHash('sha256').update(token).digest('hex');
    writeFileSync(accessFile, JSON.stringify([{ name: 'own', sha256, roles }]));
  };
  const start = (file?: string) =>
    startPlatform({ dataFolder: join(folder, 'data'), address: '127.0.0.1:0', accessFile, tokenFile: file });
  access({ 'projects/default': 'admin', '*': 'submitter' });
  await expect(start(tokenFile)).rejects.toThrow(/give it the role admin on \*/);
  access({ '*': 'admin' });
  await expect(start()).rejects.toThrow(/pass its file with --token-file/);
  writeFileSync(accessFile, '{}');
  await expect(start(tokenFile)).rejects.toThrow(/access file .* is unusable/);
});

test('an unreachable database is reported', async () => {
  const start = startPlatform({ dataFolder: folder, address: '127.0.0.1:0', databaseUrl: 'postgres://127.0.0.1:1/x' });
  await expect(start).rejects.toThrow(/the database of DATABASE_URL cannot be used/);
  expect(existsSync(join(folder, 'lock'))).toBe(false);
}, 60_000);

test('ports differ, and follow the port of the front if they are free', async () => {
  const ports = await freePorts(5, 0);
  expect(new Set(ports).size).toBe(5);
  const [wanted = 0] = ports;
  expect((await freePorts(2, wanted - 1))[0]).toBe(wanted);
});

test('each process gets its own environment', () => {
  const surroundings = {
    environment: {
      PAIRWISE_TLS_CERT: 'c',
      PAIRWISE_HEALTH_LISTEN: '0.0.0.0:7400',
      PAIRWISE_INSECURE: '1',
      PAIRWISE_THREADS: '3',
      HF_TOKEN: 't',
    },
    dataFolder: '/data',
    databaseUrl: 'postgres://x',
    address: '0.0.0.0:7410',
    ports: [1, 2, 3, 4, 5, 6, 7],
    tokenFile: '/token',
    accessFile: undefined,
    modelRoots: undefined,
  };
  const own = processEnvironment(
    {
      name: 'dataset',
      program: new URL('main.ts', import.meta.url),
      services: [],
      variable: 'PAIRWISE_DATASET_ADDRESS',
    },
    surroundings,
  );
  expect(own).toEqual({
    PAIRWISE_THREADS: '3',
    HF_TOKEN: 't',
    NODE_COMPILE_CACHE: '/data/compiled',
    PAIRWISE_DATASET_ADDRESS: '127.0.0.1:1',
    PAIRWISE_REFERENCE_ADDRESS: '127.0.0.1:2',
    PAIRWISE_TRAINING_ADDRESS: '127.0.0.1:3',
    PAIRWISE_EXPORT_ADDRESS: '127.0.0.1:4',
    PAIRWISE_ORCHESTRATOR_ADDRESS: '127.0.0.1:5',
    PAIRWISE_LISTEN: '127.0.0.1:1',
    PAIRWISE_DATA: '/data',
    PAIRWISE_MODEL_ROOTS: '',
    DATABASE_URL: 'postgres://x',
    PAIRWISE_TOKEN_FILE: '/token',
  });
  const { PAIRWISE_LISTEN: address, PAIRWISE_HEALTH_LISTEN: health } = processEnvironment(
    { name: 'training-worker', program: new URL('main.ts', import.meta.url), services: [] },
    surroundings,
  );
  expect([address, health]).toEqual([undefined, '127.0.0.1:7']);
  const local = { ...surroundings, address: '127.0.0.1:7410', modelRoots: ['/models', '/more'] };
  expect(
    processEnvironment({ name: 'dataset', program: new URL('main.ts', import.meta.url), services: [] }, local)[
      'PAIRWISE_MODEL_ROOTS'
    ],
  ).toBe('/models:/more');
});

test('log lines are readable on a terminal', () => {
  const text = JSON.stringify({
    level: 'warn',
    time: '2026-01-01T10:00:00.000Z',
    service: 'training',
    msg: 'slow step',
    trace_id: 'x',
    'pairwise.run.id': 'projects/default/runs/a',
    pairs: 8,
    err: { message: 'the disk is slow', stack: 'Error\n  at x' },
  });
  const line = stripVTControlCharacters(formatLine(readLine(text, 'training-worker', 'info')));
  expect(line).toMatch(
    /^\d\d:\d\d:\d\d training-worker {2}slow step {2}run=projects\/default\/runs\/a pairs=8: the disk is slow$/,
  );
  expect(readLine('plain \u001b[31mtext', 'one', 'warn')).toMatchObject({
    level: 'warn',
    service: 'one',
    msg: 'plain text',
  });
  expect(readLine('{"no": "message"}', 'one', 'info').msg).toBe('{"no": "message"}');
});
