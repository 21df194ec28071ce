import { digestOf, type Digest } from '@pairwise/fingerprint';
import { expect, test } from 'vitest';
import { missingPairs, planUnits, responsesOf } from './plan.ts';
import { somePairs } from './testing.pairs.ts';

const shard = digestOf(Buffer.from('shard'));
const none: ReadonlySet<Digest> = new Set();

test('units hold every pair once, in order, and at most 256 each', () => {
  const pairs = somePairs(0, 1000);
  const units = planUnits(shard, pairs, none, 1);
  expect(units.map(({ start, end }) => [start, end])).toEqual([
    [0, 256],
    [256, 512],
    [512, 768],
    [768, 1000],
  ]);
});

test('a larger model makes smaller units, and a pair that exceeds the limit alone is a unit', () => {
  const pairs = somePairs(0, 10);
  // A pair has 6 tokens, and a unit at most 1e12 multiply-adds.
  expect(planUnits(shard, pairs, none, 1e12 / 18).map(({ start, end }) => end - start)).toEqual([3, 3, 3, 1]);
  expect(planUnits(shard, pairs, none, 1e12)).toHaveLength(10);
  expect(planUnits(shard, [], none, 1)).toEqual([]);
});

test('units whose responses are all present are left out, and the others keep their bounds', () => {
  const pairs = somePairs(0, 600);
  const present = new Set(responsesOf(pairs.slice(256, 600)));
  expect(planUnits(shard, pairs, present, 1).map(({ start, end }) => [start, end])).toEqual([[0, 256]]);
  present.delete(pairs[599]!.rejectedDigest);
  expect(planUnits(shard, pairs, present, 1).map(({ start, end }) => [start, end])).toEqual([
    [0, 256],
    [512, 600],
  ]);
  expect(missingPairs(pairs.slice(512), present)).toEqual([pairs[599]]);
  expect(planUnits(shard, pairs, new Set(responsesOf(pairs)), 1)).toEqual([]);
});
