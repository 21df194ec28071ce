import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { startLlama } from './process.ts';
import type { LlamaProcess } from './process.ts';

/** The ids of this process's children. */
const children = () => readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').trim().split(' ').map(Number);

const open = (llama: LlamaProcess) =>
  llama.request('open', { path: '/none.gguf', adapterPath: undefined, contextTokens: 1, threads: 1 }, 'INVALID_FILE');

test.each(['SIGKILL', 'SIGTERM', 'SIGINT', 'SIGHUP'] as const)(
  'a process that is ended by %s does not make the file invalid, in this request or the next',
  async (signal) => {
    const before = children();
    const llama = await startLlama();
    const [pid] = children().filter((each) => !before.includes(each));
    const asked = open(llama);
    process.kill(pid!, signal);
    const message = `llama.cpp was stopped by ${signal}; try again, with more memory if the system ran out`;
    await expect(asked).rejects.toMatchObject({ reason: 'INTERNAL', message });
    await expect(open(llama)).rejects.toMatchObject({ reason: 'INTERNAL', message });
    await llama.end();
  },
);

test('a process that cannot be started is an error of each request, and can be ended', async () => {
  const { execPath } = process;
  process.execPath = '/none/node';
  try {
    const llama = await startLlama();
    const message = expect.stringMatching(/^the llama.cpp process failed: spawn \/none\/node ENOENT/) as string;
    await expect(open(llama)).rejects.toMatchObject({ reason: 'INTERNAL', message });
    await expect(open(llama)).rejects.toMatchObject({ reason: 'INTERNAL', message });
    expect(await llama.end()).toBe('');
  } finally {
    process.execPath = execPath;
  }
});
