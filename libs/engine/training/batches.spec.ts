import { rowCount, type TokenTree } from '@pairwise/model';
import { expect, test } from 'vitest';
import { batchOrder, planMicroBatches } from './batches.ts';
import { shuffled, uniformStream } from './random.ts';

const sorted = (numbers: Iterable<number>) => [...numbers].sort((a, b) => a - b);
const upTo = (count: number) => Array.from({ length: count }, (_, index) => index);

test('a seed gives the same numbers forever', () => {
  // Fixed values: a different generator would make past runs impossible to repeat.
  const uniform = uniformStream(42, 'epoch 0');
  expect([uniform(), uniform(), uniform()]).toEqual([0.45775937382131815, 0.9670634323265404, 0.6847813620697707]);
  expect([...shuffled(8, 42, 'epoch 0')]).toEqual([7, 1, 5, 0, 2, 4, 6, 3]);
});

test('numbers are uniform in [0, 1), and each seed and purpose gives different ones', () => {
  const numbers = (seed: number, purpose: string) => {
    const uniform = uniformStream(seed, purpose);
    return Array.from({ length: 20_000 }, uniform);
  };
  const own = numbers(1, 'a');
  expect(Math.min(...own)).toBeGreaterThanOrEqual(0);
  expect(Math.max(...own)).toBeLessThan(1);
  const deciles = Array.from({ length: 10 }, (_, tenth) => own.filter((x) => Math.floor(x * 10) === tenth).length);
  // 2000 expected in each, with a standard deviation of 42; six of these cannot be chance.
  for (const count of deciles) expect(Math.abs(count - 2000)).toBeLessThan(6 * 42);
  const others = [numbers(2, 'a'), numbers(1, 'b'), numbers(-1, 'a'), numbers(11, '')];
  const firsts = new Set([own, ...others].map(([first]) => first));
  expect(firsts.size).toBe(5);
});

test.each([
  [10, 4],
  [8, 8],
  [3, 8],
  [1, 1],
])('each epoch takes each of %i pairs once, in batches of %i, in its own order', (pairs, size) => {
  const steps = Math.ceil(pairs / size);
  const order = batchOrder(pairs, size, 5);
  const epoch = (number: number) => upTo(steps).map((step) => [...order(number * steps + step)]);
  for (const number of [0, 1, 2]) {
    expect(sorted(epoch(number).flat())).toEqual(upTo(pairs));
    expect(epoch(number).map(({ length }) => length)).toEqual(
      upTo(steps).map((step) => Math.min(size, pairs - step * size)),
    );
  }
  if (pairs > 3) expect(epoch(0).flat()).not.toEqual(epoch(1).flat());
});

test('the seed decides the order, and the step alone decides the batch', () => {
  const order = (seed: number) => [...batchOrder(100, 100, seed)(0)];
  expect(order(1)).toEqual(order(1));
  expect(order(1)).not.toEqual(order(2));
  const later = batchOrder(100, 10, 1);
  later(31);
  expect([...later(7)]).toEqual([...batchOrder(100, 10, 1)(7)]);
});

const ids = (length: number) => new Int32Array(length).fill(1);
const trees = [30, 5, 200, 12, 12, 90, 1, 64].map((length): TokenTree => ({
  prefix: ids(length),
  branches: [ids(4), ids(length)],
}));

test('micro-batches take every tree once, longest first, within the row limit', () => {
  for (const limit of [1, 50, 300, 1e6]) {
    const parts = planMicroBatches(trees, limit);
    expect(sorted(parts.flat())).toEqual(upTo(trees.length));
    for (const part of parts) {
      const rows = part.map((index) => rowCount(trees[index]!));
      // A tree that is longer than the limit gets a micro-batch of its own.
      if (part.length > 1) expect(rows.reduce((a, b) => a + b)).toBeLessThanOrEqual(limit);
    }
    const lengths = parts.flat().map((index) => rowCount(trees[index]!));
    expect(lengths).toEqual(sorted(lengths).reverse());
  }
  expect(planMicroBatches(trees, 1)).toHaveLength(trees.length);
  expect(planMicroBatches(trees, 1e6)).toHaveLength(1);
});
