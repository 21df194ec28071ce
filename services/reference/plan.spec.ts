import { digestOf, type Digest } from '@pairwise/fingerprint';
import { expect, test } from 'vitest';
import { missingPairs, planUnits, responsesOf, unitOperations } from './plan.ts';
import { modelConfig, pairOperations, somePairs } from './testing.pairs.ts';

const shard = digestOf(Buffer.from('shard'));
const none: ReadonlySet<Digest> = new Set();
const bounds = (pairs: ReturnType<typeof somePairs>, present = none, mostOperations = Infinity) =>
  planUnits(shard, pairs, present, modelConfig, mostOperations).map(({ start, end }) => [start, end]);

test('units hold every pair once, in order, and at most 256 each', () => {
  expect(bounds(somePairs(0, 1000))).toEqual([
    [0, 256],
    [256, 512],
    [512, 768],
    [768, 1000],
  ]);
});

test('a unit has at most the given operations, and a pair that exceeds them alone is a unit', () => {
  const pairs = somePairs(0, 10);
  const sizes = (mostOperations: number) => bounds(pairs, none, mostOperations).map(([start, end]) => end! - start!);
  expect(sizes(3 * pairOperations)).toEqual([3, 3, 3, 1]);
  expect(sizes(3.9 * pairOperations)).toEqual([3, 3, 3, 1]);
  expect(sizes(pairOperations / 2)).toHaveLength(10);
  expect(bounds([], none, 1)).toEqual([]);
});

test('a unit is what is computed in 15 seconds, at the measured rate or at a first guess', () => {
  expect(unitOperations('cpu/x64-avx2/onnxruntime-1/float32', 2e10)).toBe(3e11);
  expect(unitOperations('cuda/any/onnxruntime-1/float32', 2e10)).toBe(3e11);
  expect(unitOperations('cpu/x64-avx2/onnxruntime-1/float32')).toBe(1.5e12);
  expect(unitOperations('cuda/any/onnxruntime-1/float32')).toBe(7.5e13);
});

test('units whose responses are all present are left out, and the others keep their bounds', () => {
  const pairs = somePairs(0, 600);
  const present = new Set(responsesOf(pairs.slice(256, 600)));
  expect(bounds(pairs, present)).toEqual([[0, 256]]);
  present.delete(pairs[599]!.rejectedDigest);
  expect(bounds(pairs, present)).toEqual([
    [0, 256],
    [512, 600],
  ]);
  expect(missingPairs(pairs.slice(512), present)).toEqual([pairs[599]]);
  expect(bounds(pairs, new Set(responsesOf(pairs)))).toEqual([]);
});
