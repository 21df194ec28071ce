import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { startLlama } from './process.ts';

/** Processes that this one has started. */
const children = () => readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').trim().split(' ').map(Number);

test('a process that somebody kills is not held against the file', async () => {
  const before = children();
  const llama = await startLlama();
  const [pid] = children().filter((each) => !before.includes(each));
  const asked = llama.request('open', { path: '/none.gguf', contextTokens: 1, threads: 1 }, 'INVALID_FILE');
  process.kill(pid!, 'SIGKILL');
  await expect(asked).rejects.toMatchObject({ reason: 'INTERNAL', message: 'llama.cpp ended with SIGKILL' });
  await llama.end();
});
