import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { expect, test } from 'vitest';

async function start(...parameters: string[]): Promise<ChildProcess> {
  const child = fork(join(import.meta.dirname, 'testing.stop.ts'), parameters, { silent: true });
  await once(child, 'message');
  return child;
}

const ended = async (child: ChildProcess) =>
  (await once(child, 'exit')) as [code: number | null, signal: string | null];

test.each(['SIGTERM', 'SIGINT'] as const)('%s ends the process gracefully', async (signal) => {
  const child = await start();
  child.kill(signal);
  expect(await ended(child)).toEqual([0, null]);
});

test('the end of its parent does so too', async () => {
  const child = await start();
  child.disconnect();
  expect(await ended(child)).toEqual([0, null]);
});

test('a second signal ends the process at once', async () => {
  const child = await start('hang');
  child.kill('SIGTERM');
  await once(child.stdout!, 'data');
  child.kill('SIGINT');
  expect(await ended(child)).toEqual([130, null]);
});
