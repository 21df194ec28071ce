import { expect, test } from 'vitest';
import { adamwStep, clipFactor, globalNorm, initialState, type AdamW } from './optimizer.ts';
import { uniformStream } from './random.ts';

const settings: AdamW = { learningRate: 1e-2, weightDecay: 0.1, adamBeta1: 0.9, adamBeta2: 0.99, adamEpsilon: 1e-8 };

/** AdamW of one parameter as in the paper (Algorithm 2 of arXiv 1711.05101), in float64. */
function paper(start: number, gradients: number[], { learningRate, weightDecay, ...adam }: AdamW): number {
  let [parameter, first, second] = [start, 0, 0];
  gradients.forEach((gradient, index) => {
    first = adam.adamBeta1 * first + (1 - adam.adamBeta1) * gradient;
    second = adam.adamBeta2 * second + (1 - adam.adamBeta2) * gradient ** 2;
    const mean = first / (1 - adam.adamBeta1 ** (index + 1));
    const variance = second / (1 - adam.adamBeta2 ** (index + 1));
    parameter -=
      learningRate * weightDecay * parameter + (learningRate * mean) / (Math.sqrt(variance) + adam.adamEpsilon);
  });
  return parameter;
}

/** Trains vectors of two lengths, with new random gradients at each step. */
function train(changes: Partial<AdamW>, steps: number, factor = 1) {
  const uniform = uniformStream(7, 'gradients');
  const numbers = (length: number) => Float32Array.from({ length }, () => uniform() - 0.5);
  const state = initialState([numbers(3), numbers(5)]);
  const start = state.parameters.map((each) => each.slice());
  const history = Array.from({ length: steps }, () => [numbers(3), numbers(5)]);
  for (const gradients of history) adamwStep(state, gradients, { ...settings, ...changes }, factor);
  return { state, start, history };
}

test.each<[string, Partial<AdamW>]>([
  ['all terms', {}],
  ['no decay', { weightDecay: 0 }],
  ['no momentum', { adamBeta1: 0 }],
  ['a large epsilon', { adamEpsilon: 0.1 }],
])('ten steps match the paper: %s', (_, changes) => {
  const { state, start, history } = train(changes, 10);
  expect(state.step).toBe(10);
  state.parameters.forEach((vector, list) =>
    vector.forEach((value, i) => {
      const gradients = history.map((step) => step[list]![i]!);
      const wanted = paper(start[list]![i]!, gradients, { ...settings, ...changes });
      // Ten roundings of a parameter and its moments to float32.
      expect(Math.abs(value - wanted)).toBeLessThan(10 * 1.2e-7);
    }),
  );
});

test('the factor scales the gradients before they enter the moments', () => {
  const { state } = train({}, 1, 0.5);
  const { history } = train({}, 1);
  history[0]![1]!.forEach((gradient, i) => {
    expect(state.firstMoments[1]![i]).toBeCloseTo(0.1 * 0.5 * gradient, 8);
    expect(state.secondMoments[1]![i]).toBeCloseTo(0.01 * (0.5 * gradient) ** 2, 8);
  });
});

test('the norm is over all vectors, in float64', () => {
  expect(globalNorm([Float32Array.of(3), Float32Array.of(0, 4)])).toBe(5);
  // 1 + 1e-8 is 1 in float32: a sum in float32 would lose all but the first.
  expect(globalNorm([Float32Array.of(1, ...new Float32Array(1e5).fill(1e-4))])).toBeCloseTo(Math.sqrt(1.001), 8);
});

test('gradients are clipped to the maximum as in torch, and never scaled up', () => {
  expect(clipFactor(4, 1)).toBe(1 / (4 + 1e-6));
  expect(clipFactor(0.5, 1)).toBe(1);
  expect(clipFactor(0, 1)).toBe(1);
  expect(clipFactor(1e30, 1) * 1e30).toBeCloseTo(1, 12);
  expect(clipFactor(1e30, 0)).toBe(1);
});
