import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { sharedFolder } from '@pairwise/testing';
import { graphBuilder } from '@pairwise/onnx';
import { openSession, type Tensor } from '@pairwise/ort';
import { losses, lossTypes, meanLoss, startLoss, type Objective, type PairLogps } from './losses.ts';
import { batchMetrics } from './metrics.ts';

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

const sigmoid = (beta: number, labelSmoothing = 0, weight = 1): Objective => ({
  losses: [{ type: 'sigmoid', weight }],
  beta,
  labelSmoothing,
});

// Both sides compute in float64.
describe.skipIf(shared === undefined)('against the loss code of TRL, to 1e-9', () => {
  test('sigmoid with every beta, and its metrics', () => {
    const { cases, pairs, tiedPairs } = vectors();
    const chosen = cases.filter(({ name }) => /^(aot2:sigmoid|sigmoid b=[\d.]+)$/.test(name));
    expect(chosen).toHaveLength(5);
    for (const { name, args, loss, metrics } of chosen) {
      const { beta = 0.1 } = args;
      const given = name.startsWith('aot2') ? tiedPairs : pairs;
      expect(Math.abs(meanLoss(given, sigmoid(beta)) - loss), name).toBeLessThan(1e-9);
      for (const [metric, value] of Object.entries(batchMetrics(given, beta))) {
        expect(Math.abs(value - metrics[metric]!), `${name}: ${metric}`).toBeLessThan(1e-9);
      }
    }
  });

  test('label smoothing', () => {
    const { cases, pairs } = vectors();
    const { loss, args } = cases.find(({ name }) => name === 'robust eps=0.1')!;
    const e = args.label_smoothing!;
    // TRL does not smooth its sigmoid loss, but its robust loss has the same two parts: ((1 - e) a - e b) / (1 - 2e), where a
    // is the loss of the label and b that of its opposite. Ours is (1 - e) a + e b.
    const own = meanLoss(pairs, sigmoid(0.1, e));
    const label = meanLoss(pairs, sigmoid(0.1));
    expect(Math.abs((2 * (1 - e) * label - own) / (1 - 2 * e) - loss)).toBeLessThan(1e-9);
  });
});

const pair = (margin: number): PairLogps => ({
  policyChosen: margin,
  policyRejected: 0,
  referenceChosen: 0,
  referenceRejected: 0,
});

test('a tie does not count as accurate', () => {
  expect(batchMetrics([pair(0)], 0.1)['rewards/accuracies']).toBe(0);
});

test('label smoothing mixes the losses of both labels, and any margin gives a finite loss', () => {
  const wrong = meanLoss([pair(-3)], sigmoid(0.5));
  const right = meanLoss([pair(3)], sigmoid(0.5));
  expect(meanLoss([pair(3)], sigmoid(0.5, 0.1))).toBeCloseTo(0.9 * right + 0.1 * wrong, 12);
  expect(meanLoss([pair(-1e6)], sigmoid(1))).toBe(1e6);
  expect(meanLoss([pair(1e6)], sigmoid(1))).toBe(0);
});

test('the mean and the start are multiplied by the weight', () => {
  expect(meanLoss([pair(-1), pair(1)], sigmoid(1, 0, 3))).toBeCloseTo(
    3 * meanLoss([pair(-1), pair(1)], sigmoid(1)),
    12,
  );
  expect(startLoss(sigmoid(1, 0.2, 3))).toBe(3 * Math.LN2);
});

const column = (values: number[]): Tensor => ({
  dtype: 'float32',
  dims: [values.length, 1],
  data: Float32Array.from(values),
});
const scalar = (value: number): Tensor => ({ dtype: 'float32', dims: [], data: Float32Array.of(value) });

/** Logratios, in nats, that float32 holds exactly; the first are those of the start. */
const logratioPairs: readonly (readonly [number, number])[] = [
  [0, 0],
  [0.25, 0],
  [-0.25, 0.5],
  [3.5, -2],
  [-40, 25],
  [700, -800],
  [-800, 700],
];

describe.each(lossTypes)('the loss %s', (type) => {
  const loss = losses[type];
  const settings = [0.0625, 0.1, 1, 8].flatMap((beta) =>
    [0, 0.1, 0.45].map((labelSmoothing) => ({ beta, labelSmoothing })),
  );

  test('has the same value as graph and as number, for all margins, betas and smoothings', async () => {
    const g = graphBuilder('loss');
    const input = (name: string, shape: (string | number)[]) => g.input(name, 'float32', shape);
    const [chosenLogratio, rejectedLogratio] = [input('chosen', ['P', 1]), input('rejected', ['P', 1])];
    const [beta, labelSmoothing] = [input('beta', []), input('label_smoothing', [])];
    g.output('losses', loss.graph(g, { chosenLogratio, rejectedLogratio }, { beta, labelSmoothing }));
    const session = await openSession({ graph: g.finish(), threads: 1 });
    const chosen = column(logratioPairs.map(([each]) => each));
    const rejected = column(logratioPairs.map(([, each]) => each));
    for (const each of settings) {
      const feeds = { chosen, rejected, beta: scalar(each.beta), label_smoothing: scalar(each.labelSmoothing) };
      const { losses: result } = await session.run(feeds);
      logratioPairs.forEach(([chosenLogratio, rejectedLogratio], index) => {
        const number = loss.number({ chosenLogratio, rejectedLogratio }, each);
        // The graph rounds beta, the smoothing, the products and the sum to float32: a few times 6e-8 of the scaled margin.
        const scale = Math.max(1, each.beta * Math.abs(chosenLogratio - rejectedLogratio));
        const difference = Math.abs((result!.data as Float32Array)[index]! - number);
        expect(difference, JSON.stringify({ chosenLogratio, rejectedLogratio, ...each })).toBeLessThan(4e-7 * scale);
      });
    }
    await session.close();
  });

  test('has its stated value at the start', () => {
    for (const each of settings) {
      expect(loss.number({ chosenLogratio: 0, rejectedLogratio: 0 }, each)).toBeCloseTo(loss.start(each), 12);
    }
  });
});

test('sigmoid starts at ln 2, whatever the smoothing', () => {
  const settings = { beta: 0.1, labelSmoothing: 0.2 };
  expect(losses.sigmoid.start(settings)).toBe(Math.LN2);
  expect(losses.sigmoid.number({ chosenLogratio: 0, rejectedLogratio: 0 }, settings)).toBe(Math.LN2);
});
