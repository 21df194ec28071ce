import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { sharedFolder } from '../../tools/goldens/shared.ts';
import { batchMetrics, dpoLosses, type PairLogps } from './losses.ts';

const shared = sharedFolder();

interface LossVectors {
  inputs: Record<'policy_chosen' | 'policy_rejected' | 'ref_chosen' | 'ref_rejected', number[]>;
  cases: { name: string; args: { loss_type: string[] }; loss: number; metrics: Record<string, number> }[];
}

describe.skipIf(shared === undefined)('against the loss code of TRL', () => {
  test('sigmoid, to 1e-9', () => {
    const { inputs, cases } = JSON.parse(
      readFileSync(join(shared!, 'goldens/loss_vectors.json'), 'utf8'),
    ) as LossVectors;
    const pairs = inputs.policy_chosen.map((policyChosen, i): PairLogps => ({
      policyChosen,
      policyRejected: inputs.policy_rejected[i]!,
      referenceChosen: inputs.ref_chosen[i]!,
      referenceRejected: inputs.ref_rejected[i]!,
    }));
    const sigmoid = cases.filter(({ name }) => /^sigmoid b=[\d.]+$/.test(name));
    expect(sigmoid.length).toBeGreaterThan(0);
    for (const { name, loss, metrics } of sigmoid) {
      const beta = Number(name.split('=')[1]);
      const mean = dpoLosses(pairs, beta).reduce((sum, each) => sum + each, 0) / pairs.length;
      expect(Math.abs(mean - loss)).toBeLessThan(1e-9);
      for (const [metric, value] of Object.entries(batchMetrics(pairs, beta))) {
        expect(Math.abs(value - metrics[metric]!), metric).toBeLessThan(1e-9);
      }
    }
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
