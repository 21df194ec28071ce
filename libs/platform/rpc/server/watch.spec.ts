import { expect, test } from 'vitest';
import { watch } from './watch.ts';

test('a watch yields every entry once, every state that it sees, and the ended resource last', async () => {
  const log = ['a', 'b'];
  let position = 0;
  let reads = 0;
  const watched = {
    // The resource ends between the third time it is read and the reading of its log.
    read: () => {
      reads += 1;
      if (reads === 3) log.push('c');
      return Promise.resolve({ ended: reads === 3, etag: reads < 3 ? 'running' : 'ended' });
    },
    hasEnded: ({ ended }: { ended: boolean }) => ended,
    show: ({ ended }: { ended: boolean }) => (ended ? 'ended' : 'running'),
    async *newEntries() {
      while (position < log.length) yield await Promise.resolve(log[position++]!);
    },
  };
  expect(await Array.fromAsync(watch(watched, new AbortController().signal))).toEqual([
    'a',
    'b',
    'running',
    'c',
    'ended',
  ]);
});

test('a watch ends when its caller leaves, no matter what it is waiting for', async () => {
  const caller = new AbortController();
  const watched = {
    read: () => Promise.resolve({ etag: '1' }),
    hasEnded: () => false,
    show: () => 'running',
  };
  const messages = watch(watched, caller.signal);
  expect(await messages.next()).toEqual({ done: false, value: 'running' });
  const next = messages.next();
  caller.abort();
  expect(await next).toEqual({ done: true, value: undefined });
});
