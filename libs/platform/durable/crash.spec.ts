import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Database, type EmbeddedPostgres, openDatabase } from '@pairwise/database';
import { testDatabase } from '@pairwise/database/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Durable, startDurable } from './index.ts';
import { plan, quiet, saved } from './testing.plan.ts';

interface Worker {
  child: ChildProcess;
  /** The steps that it began, in order. */
  begun: number[];
}

let url: string;
let postgres: EmbeddedPostgres;
let database: Database;
let durable: Durable;
const workers: Worker[] = [];

beforeEach(async () => {
  ({ url, server: postgres } = await testDatabase());
  database = openDatabase({ url, schema: 'test' });
  await database.run('create schema test');
  await database.run('create table ends (work text, step integer, primary key (work, step))');
  durable = await startDurable({ url, schema: 'test', log: quiet });
});
afterEach(async () => {
  await Promise.all(workers.splice(0).map(({ child }) => end(child, 'SIGKILL')));
  await durable.stop();
  await database.close();
});

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill(signal);
  await exited;
}

/** The lease is short, so that the work of a dead process is soon taken over. */
async function startWorker(leaseMs = 500, size = 'large'): Promise<Worker> {
  const program = join(import.meta.dirname, 'testing.worker.ts');
  const child = fork(program, [url, String(leaseMs), size], { stdio: 'inherit' });
  const worker: Worker = { child, begun: [] };
  workers.push(worker);
  const ready = new Promise<void>((resolve) => {
    child.on('message', (message: { ready?: true; begun?: number }) => {
      if (message.begun !== undefined) worker.begun.push(message.begun);
      else resolve();
    });
  });
  await ready;
  return worker;
}

/** Returns the two workers, first the one that has the only piece of work. */
async function split(): Promise<[first: Worker, second: Worker]> {
  while (workers.every(({ begun }) => begun.length === 0)) await sleep(10);
  const [first, second] = [...workers].sort((a, b) => b.begun.length - a.begun.length);
  return [first!, second!];
}

async function hasBegun(worker: Worker, step: number): Promise<void> {
  while (!worker.begun.includes(step)) await sleep(10);
}

const ends = async () =>
  (await database.rows<{ step: number }>('select step from ends order by step')).map((row) => row.step);

test('a killed process loses only its current step, which another process takes over', async () => {
  await startWorker();
  await startWorker();
  await durable.enqueue(plan, 'a', { steps: 3, ms: 300 });
  const [first, second] = await split();
  await hasBegun(first, 1);
  await end(first.child, 'SIGKILL');
  expect(await durable.result(plan, 'a')).toBe(3);
  expect(first.begun).toEqual([0, 1]);
  expect(second.begun).toEqual([1, 2]);
  expect(await ends()).toEqual([0, 1, 2]);
});

test('a restarted process continues the work in which it was killed', async () => {
  const one = await startWorker();
  await durable.enqueue(plan, 'a', { steps: 2, ms: 300 });
  await hasBegun(one, 0);
  await end(one.child, 'SIGKILL');
  const again = await startWorker();
  expect(await durable.result(plan, 'a')).toBe(2);
  expect(again.begun).toEqual([0, 1]);
});

test('a process that stops lets its current step save what it has, and hands its work over at once', async () => {
  const one = await startWorker();
  await durable.enqueue(plan, 'a', { steps: 2, ms: 60_000 });
  await hasBegun(one, 0);
  await end(one.child, 'SIGTERM');
  expect(one.child.exitCode).toBe(0);
  expect(await durable.state('a')).toBe('QUEUED');
  expect(await ends()).toEqual([saved]);
});

test('when Postgres is killed, the processes survive and the work continues', async () => {
  const one = await startWorker(5000);
  const two = await startWorker(5000);
  await durable.enqueue(plan, 'a', { steps: 4, ms: 400 });
  while (one.begun.length + two.begun.length < 2) await sleep(10);
  process.kill(postgres.pid()!, 'SIGKILL');
  expect(await durable.result(plan, 'a')).toBe(4);
  expect(await ends()).toEqual([0, 1, 2, 3]);
  expect([one, two].map(({ child }) => child.exitCode ?? child.signalCode)).toEqual([null, null]);
  // The process kept its work, since it had a whole lease to reconnect.
  expect([one, two].filter(({ begun }) => begun.length > 0)).toHaveLength(1);
});

test('a process whose event loop is busy keeps its work', async () => {
  // Longer than one lease, but far below the six after which a process counts as frozen.
  await startWorker(2000);
  await startWorker(2000);
  await durable.enqueue(plan, 'a', { steps: 2, ms: 200 });
  const [busy] = await split();
  busy.child.send({ blockMs: 3500 });
  expect(await durable.result(plan, 'a')).toBe(2);
  expect(busy.begun).toEqual([0, 1]);
});

test('a frozen process loses its work, and cannot write when it wakes up', async () => {
  const one = await startWorker();
  await durable.enqueue(plan, 'a', { steps: 2, ms: 500 });
  await hasBegun(one, 0);
  one.child.kill('SIGSTOP');
  const two = await startWorker();
  expect(await durable.result(plan, 'a')).toBe(2);
  one.child.kill('SIGCONT');
  await sleep(1500);
  expect(two.begun).toEqual([0, 1]);
  expect(one.begun).toEqual([0]);
  expect(await ends()).toEqual([0, 1]);
  // The process that was frozen works again.
  await end(two.child, 'SIGTERM');
  await durable.enqueue(plan, 'b', { steps: 1, ms: 1 });
  expect(await durable.result(plan, 'b')).toBe(1);
});

test('two processes share the work of a queue; nothing is done twice', async () => {
  await startWorker();
  await startWorker();
  const ids = Array.from({ length: 12 }, (_, index) => `shard-${index}`);
  for (const id of ids) await durable.enqueue(plan, id, { steps: 2, ms: 30 });
  await Promise.all(ids.map((id) => durable.result(plan, id)));
  expect(workers.map(({ begun }) => begun.length).reduce((a, b) => a + b)).toBe(24);
  expect(Math.min(...workers.map(({ begun }) => begun.length))).toBeGreaterThan(0);
});

test('work that a process declines waits for one that can do it, while smaller work is done', async () => {
  const small = await startWorker(500, 'small');
  await durable.enqueue(plan, 'large', { steps: 2, ms: 30, isLarge: true });
  // The small process may decline twice in this time.
  await sleep(3000);
  expect(await durable.state('large')).toBe('QUEUED');
  await durable.enqueue(plan, 'small', { steps: 1, ms: 1 });
  expect(await durable.result(plan, 'small')).toBe(1);
  const large = await startWorker();
  expect(await durable.result(plan, 'large')).toBe(2);
  expect([small.begun, large.begun]).toEqual([[0], [0, 1]]);
});
