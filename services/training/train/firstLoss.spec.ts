import type { Objective } from '@pairwise/training';
import { expect, test } from 'vitest';
import { checkFirstLoss } from './firstLoss.ts';

const sigmoid = (weight: number): Objective => ({
  losses: [{ type: 'sigmoid', weight }],
  beta: 0.1,
  labelSmoothing: 0.2,
});
const float32 = 'cpu/x64-avx2/onnxruntime-1.30.0/float32';

const failed = (text: string) =>
  expect.objectContaining({
    reason: 'VERIFICATION_FAILED',
    message: expect.stringContaining(text) as string,
  }) as Error;

test('the first loss of sigmoid must be ln 2 times its weight', () => {
  checkFirstLoss({ loss: Math.LN2 + 1e-6 }, sigmoid(1), float32);
  checkFirstLoss({ loss: 2 * Math.LN2 }, sigmoid(2), float32);
  expect(() => checkFirstLoss({ loss: 0.7 }, sigmoid(1), float32)).toThrow(failed('0.7, not 0.693'));
  expect(() => checkFirstLoss({ loss: Math.LN2 }, sigmoid(2), float32)).toThrow(failed('not 1.386'));
  expect(() => checkFirstLoss({}, sigmoid(1), float32)).toThrow(failed('NaN'));
});

test.each([
  ['float32', 1e-3],
  ['bfloat16', 0.05],
  ['tf32', 0.05],
])('in %s it may differ by %d', (dtype, tolerance) => {
  const profile = `cuda/any/onnxruntime-1.30.0/${dtype}`;
  for (const sign of [-1, 1]) {
    for (const weight of [1, 2]) {
      const at = (difference: number) => ({ loss: weight * (Math.LN2 + sign * difference) });
      checkFirstLoss(at(0.99 * tolerance), sigmoid(weight), profile);
      expect(() => checkFirstLoss(at(1.01 * tolerance), sigmoid(weight), profile)).toThrow(failed('the first loss is'));
    }
  }
});

test('a dtype without a tolerance is a bug, not a failed verification', () => {
  expect(() => checkFirstLoss({ loss: Math.LN2 }, sigmoid(1), 'cpu/x64/onnxruntime-1.30.0/float16')).toThrow(TypeError);
});
