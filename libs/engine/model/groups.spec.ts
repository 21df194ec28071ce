import { expect, test } from 'vitest';
import { groupByLength, groupCount } from './groups.ts';

/** The number of cells in the padded score matrices of the groups. */
function cells(lengths: readonly number[], groups: readonly number[][]): number {
  return groups.reduce((sum, group) => sum + group.length * Math.max(...group.map((index) => lengths[index]!)) ** 2, 0);
}

/** The fewest cells of any assignment of lengths to groups, by trying them all. */
function fewestCells(lengths: readonly number[]): number {
  let best = Infinity;
  for (let code = 0; code < groupCount ** lengths.length; code++) {
    const groups = Array.from({ length: groupCount }, (): number[] => []);
    lengths.forEach((_, index) => groups[Math.floor(code / groupCount ** index) % groupCount]!.push(index));
    best = Math.min(
      best,
      cells(
        lengths,
        groups.filter(({ length }) => length > 0),
      ),
    );
  }
  return best;
}

test.each([
  [[5]],
  [[3, 3, 3]],
  [[1, 2, 3, 4, 5]],
  [[100, 1, 99, 2, 50, 49]],
  [[7, 7, 1, 30, 2, 30, 8]],
  [[64, 61, 33, 32, 31, 5, 4]],
])('%j: no grouping has fewer cells', (lengths) => {
  const groups = groupByLength(lengths);
  expect(groups.length).toBeLessThanOrEqual(groupCount);
  expect(groups.flat().sort((a, b) => a - b)).toEqual(lengths.map((_, index) => index));
  expect(cells(lengths, groups)).toBe(fewestCells(lengths));
  for (const group of groups) {
    const own = group.map((index) => lengths[index]!);
    expect(own).toEqual([...own].sort((a, b) => b - a));
  }
});

test('equal lengths form one group', () => {
  expect(groupByLength([9, 9, 9, 9, 9])).toHaveLength(1);
});
