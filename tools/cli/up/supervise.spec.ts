import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, onTestFinished, test } from 'vitest';
import type { LogLine } from './lines.ts';
import { type Supervised, supervise } from './supervise.ts';

let one: Supervised | undefined;
afterEach(() => one?.kill());

function start(behaviour: string, lines: LogLine[] = []): Supervised {
  return (one = supervise({
    name: 'one',
    program: new URL('testing.child.ts', import.meta.url),
    environment: { ...process.env, BEHAVIOUR: behaviour },
    check: () => Promise.resolve(),
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

test('a process that is killed is started again', async () => {
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
    'killed by SIGKILL; starting it again in 0.2 s',
    'began',
    'is back',
    'ended in good order',
  ]);
});

test('a process that never becomes ready is given up with its last words', async () => {
  await expect(start('dies').ready).rejects.toThrow(/one does not start; it ended with code 7.*it is all wrong/s);
});

test('a process that does not stop is killed', async () => {
  const lines: LogLine[] = [];
  const child = start('stubborn', lines);
  await child.ready;
  await child.stop(100);
  expect(lines.at(-1)?.msg).toBe('does not stop within 0.1 s; it is killed');
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
