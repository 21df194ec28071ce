import { expect, test } from 'vitest';
import { queryChunks } from './queryChunks.ts';
import type { TokenTree } from './tokenTree.ts';

const tree = (rows: number): TokenTree => ({ prefix: new Int32Array(rows), branches: [new Int32Array(1)] });

test('small trees share a chunk; a large one is cut, and its queries get no key of another tree and no later one', () => {
  expect(queryChunks([20, 8, 3, 5, 1].map(tree), 8)).toEqual([
    [0, 6, 0, 6],
    [6, 13, 0, 13],
    [13, 20, 0, 20],
    [20, 28, 20, 28],
    [28, 36, 28, 36],
    [36, 37, 36, 37],
  ]);
  expect(queryChunks([8192].map(tree))).toHaveLength(64);
});

test('a small tree does not join the last chunk of a large one', () => {
  expect(queryChunks([9, 2].map(tree), 8)).toEqual([
    [0, 4, 0, 4],
    [4, 9, 0, 9],
    [9, 11, 9, 11],
  ]);
});
