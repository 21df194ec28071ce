import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeAll, expect, onTestFinished, test } from 'vitest';
import { openLiveness, untilReady } from './health.ts';
import type { LogLine } from './lines.ts';
import { freePorts } from './ports.ts';
import { type Supervised, supervise } from './supervise.ts';

let one: Supervised | undefined;
afterEach(() => one?.kill());

let health = '';
beforeAll(async () => (health = `127.0.0.1:${(await freePorts(1, 0))[0]}`));

function start(behaviour: string, lines: LogLine[] = []): Supervised {
  return (one = supervise({
    name: 'one',
    program: new URL('testing.child.ts', import.meta.url),
    environment: { ...process.env, BEHAVIOUR: behaviour, HEALTH: health },
    check: (gone) => untilReady(health, gone),
    liveness: () => openLiveness(health),
    patienceMs: 3000,
    log: (line) => lines.push(line),
  }));
}

const isAlive = (pid: number) => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await sleep(20);
}

test('a killed process is restarted', async () => {
  const lines: LogLine[] = [];
  const child = start('serves', lines);
  await child.ready;
  const first = child.pid()!;
  process.kill(first, 'SIGKILL');
  await until(() => lines.some(({ msg }) => msg === 'is back'));
  expect(child.pid()).not.toBe(first);
  await child.stop(10_000);
  expect(child.pid()).toBeUndefined();
  expect(lines.map(({ msg }) => msg)).toEqual([
    'began',
    'killed by SIGKILL; restarting it in 0.2 s',
    'began',
    'is back',
    'stopped gracefully',
  ]);
});

test.each([
  ['stopped', (pid: number) => process.kill(pid, 'SIGSTOP')],
  ['busy forever', (pid: number) => process.kill(pid, 'SIGUSR2')],
  ['listening, but reporting that it is stuck', (pid: number) => process.kill(pid, 'SIGHUP')],
])('a process that is %s is killed and restarted', async (_what, disturb) => {
  const lines: LogLine[] = [];
  const child = start('serves', lines);
  await child.ready;
  const first = child.pid()!;
  disturb(first);
  await until(() => lines.some(({ msg }) => msg === 'is back'));
  expect(child.pid()).not.toBe(first);
  expect(isAlive(first)).toBe(false);
  expect(lines.map(({ msg }) => msg)).toEqual([
    'began',
    'has not responded for 3 s; killing it',
    'killed by SIGKILL; restarting it in 0.2 s',
    'began',
    'is back',
  ]);
  await child.stop(10_000);
});

test('starting a process that never becomes ready fails with its last output', async () => {
  await expect(start('dies').ready).rejects.toThrow(/one does not start; it ended with code 7.*broken on purpose/s);
});

test('a process that does not stop is killed', async () => {
  const lines: LogLine[] = [];
  const child = start('stubborn', lines);
  await child.ready;
  await child.stop(100);
  expect(lines.at(-1)?.msg).toBe('has not stopped after 0.1 s; killing it');
});

test('a process ends when its supervisor is killed', async () => {
  const supervisor = spawn(process.execPath, [join(import.meta.dirname, 'testing.supervisor.ts')], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  onTestFinished(() => void supervisor.kill('SIGKILL'));
  const [text] = (await once(supervisor.stdout, 'data')) as [Buffer];
  const pid = Number(text);
  expect(isAlive(pid)).toBe(true);
  supervisor.kill('SIGKILL');
  await until(() => !isAlive(pid));
});
