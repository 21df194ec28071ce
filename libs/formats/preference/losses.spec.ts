import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { sharedFolder } from '@pairwise/testing';
import { batchMetrics, dpoLosses, type PairLogps } from './losses.ts';

const shared = sharedFolder();

type Inputs = Record<'policy_chosen' | 'policy_rejected' | 'ref_chosen' | 'ref_rejected', number[]>;
interface LossVectors {
  inputs: Inputs;
  aot2_inputs: Inputs;
  cases: {
    name: string;
    args: { beta?: number; label_smoothing?: number };
    loss: number;
    metrics: Record<string, number>;
  }[];
}

function vectors() {
  const file = JSON.parse(readFileSync(join(shared!, 'goldens/loss_vectors.json'), 'utf8')) as LossVectors;
  const pairs = ({ policy_chosen, policy_rejected, ref_chosen, ref_rejected }: Inputs) =>
    policy_chosen.map((policyChosen, i): PairLogps => ({
      policyChosen,
      policyRejected: policy_rejected[i]!,
      referenceChosen: ref_chosen[i]!,
      referenceRejected: ref_rejected[i]!,
    }));
  return { cases: file.cases, pairs: pairs(file.inputs), tiedPairs: pairs(file.aot2_inputs) };
}

const mean = (losses: number[]) => losses.reduce((sum, each) => sum + each, 0) / losses.length;

// All of it is float64 on both sides.
describe.skipIf(shared === undefined)('against the loss code of TRL, to 1e-9', () => {
  test('sigmoid with every beta, and its metrics', () => {
    const { cases, pairs, tiedPairs } = vectors();
    const sigmoid = cases.filter(({ name }) => /^(aot2:sigmoid|sigmoid b=[\d.]+)$/.test(name));
    expect(sigmoid).toHaveLength(5);
    for (const { name, args, loss, metrics } of sigmoid) {
      const { beta = 0.1 } = args;
      const given = name.startsWith('aot2') ? tiedPairs : pairs;
      expect(Math.abs(mean(dpoLosses(given, beta)) - loss), name).toBeLessThan(1e-9);
      for (const [metric, value] of Object.entries(batchMetrics(given, beta))) {
        expect(Math.abs(value - metrics[metric]!), `${name}: ${metric}`).toBeLessThan(1e-9);
      }
    }
  });

  test('label smoothing', () => {
    const { cases, pairs } = vectors();
    const { loss, args } = cases.find(({ name }) => name === 'robust eps=0.1')!;
    const e = args.label_smoothing!;
    // TRL smooths no sigmoid loss, but its robust one is made of the same two parts:
    // ((1 - e) a - e b) / (1 - 2e), where a is the loss of the label, b of its opposite, and ours is (1 - e) a + e b.
    const own = mean(dpoLosses(pairs, 0.1, e));
    const label = mean(dpoLosses(pairs, 0.1));
    expect(Math.abs((2 * (1 - e) * label - own) / (1 - 2 * e) - loss)).toBeLessThan(1e-9);
  });
});

const pair = (margin: number): PairLogps => ({
  policyChosen: margin,
  policyRejected: 0,
  referenceChosen: 0,
  referenceRejected: 0,
});

test('equal models give ln 2, whatever the smoothing; a tie is no success', () => {
  expect(dpoLosses([pair(0)], 0.1)).toEqual([Math.LN2]);
  expect(dpoLosses([pair(0)], 0.1, 0.2)).toEqual([Math.LN2]);
  expect(batchMetrics([pair(0)], 0.1)['rewards/accuracies']).toBe(0);
});

test('label smoothing mixes the losses of both labels, and no margin is too large', () => {
  const [wrong] = dpoLosses([pair(-3)], 0.5);
  const [right] = dpoLosses([pair(3)], 0.5);
  expect(dpoLosses([pair(3)], 0.5, 0.1)[0]).toBeCloseTo(0.9 * right! + 0.1 * wrong!, 12);
  expect(dpoLosses([pair(-1e6), pair(1e6)], 1)).toEqual([1e6, 0]);
});
