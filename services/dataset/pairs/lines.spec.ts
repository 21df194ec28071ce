import { expect, test } from 'vitest';
import { mergeLines, type Line } from './lines.ts';

async function* streamOf(keys: readonly number[]): AsyncGenerator<Line, void> {
  for (const key of keys) yield await Promise.resolve({ key: String(key).padStart(8, '0'), bytes: Buffer.alloc(0) });
}

async function merged(...streams: number[][]) {
  let duplicates = 0;
  const lines = await Array.fromAsync(mergeLines(streams.map(streamOf), () => (duplicates += 1)));
  return { keys: lines.map(({ key }) => Number(key)), duplicates };
}

test('merged lines are sorted and unique', async () => {
  expect(await merged([1, 4, 5], [], [2, 4, 6], [4], [6, 7])).toEqual({ keys: [1, 2, 4, 5, 6, 7], duplicates: 3 });
  expect(await merged([1, 2])).toEqual({ keys: [1, 2], duplicates: 0 });
  expect(await merged([], [])).toEqual({ keys: [], duplicates: 0 });
});

test('merging many streams does not compare each line with every stream', async () => {
  const count = 40_000;
  const streams = Array.from({ length: count }, (_, n) => [0, 1, 2, 3, 4].map((row) => row * count + n));
  const { keys, duplicates } = await merged(...streams);
  expect(keys.length).toBe(5 * count);
  expect(keys.every((key, index) => key === index)).toBe(true);
  expect(duplicates).toBe(0);
});
