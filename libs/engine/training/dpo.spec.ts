import { digestOf } from '@pairwise/fingerprint';
import { beforeAll, expect, test } from 'vitest';
import type { Session } from '@pairwise/ort';
import {
  dpoGraph,
  dpoBatches,
  dpoStep,
  dpoStepOn,
  evaluateDpo,
  packState,
  policyGraph,
  unpackState,
  type HyperparameterInput,
  type OptimizerState,
  type RunGraph,
} from './index.ts';
import { microBatchResults } from './microBatches.ts';
import { lora, tinySetting, tinyState, type TinySetting } from './testing.ts';

let tiny: TinySetting;
let training: Session;
let policy: Session;

beforeAll(async () => {
  tiny = await tinySetting();
  training = await tiny.open(dpoGraph(tiny.base, lora, 'sigmoid'), 2);
  policy = await tiny.open(policyGraph(tiny.base, lora));
  return () => tiny.close();
});

const digest = (state: OptimizerState) => digestOf(packState(state));
const copy = ({ step, ...lists }: OptimizerState): OptimizerState => ({ step, ...structuredClone(lists) });

/** Trains some steps in batches of 4 and returns the losses. */
async function train(
  state: OptimizerState,
  steps: number,
  hyperparameters: HyperparameterInput = {},
  run = training.run,
) {
  const task = tiny.task({ batchSize: 4, learningRate: 1e-2, ...hyperparameters });
  const losses: number[] = [];
  for (let step = 0; step < steps; step++) losses.push((await dpoStep(run, task, state))['loss']!);
  return losses;
}

test('step 0 is ln 2, because live and cached logps agree, and later steps fall below it', async () => {
  const task = tiny.task();
  const metrics = await dpoStepOn(training.run, task, tinyState(task), task.pairs);
  // Up to 24 logps of about 6 nats, each rounded to float32: 24 * 6 * 1.2e-7 nats, and a tenth of that in rewards.
  for (const name of ['rewards/chosen', 'rewards/rejected', 'rewards/margins']) {
    expect(Math.abs(metrics[name]!), name).toBeLessThan(2e-6);
  }
  expect(Math.abs(metrics['loss']! - Math.LN2)).toBeLessThan(1e-6);
  const losses = await train(tinyState(task), 12, { lrSchedulerType: 'constant' });
  expect(losses[0]).toBeCloseTo(Math.LN2, 6);
  for (const loss of losses.slice(3)) expect(loss).toBeLessThan(Math.LN2);
  expect(losses.at(-1)).toBeLessThan(0.5);
});

test.each([
  [0, 1],
  [0.3, 1],
  [0.1, 2.5],
])(
  'smoothing %d, weight %d: the graph’s loss is the formula’s, its gradients are those of that loss',
  async (e, weight) => {
    const settings = { labelSmoothing: e, losses: [{ type: 'sigmoid', weight }], beta: 0.5, maxGradNorm: 0 };
    const task = tiny.task({ ...settings, adamBeta1: 0 });
    const state = tinyState(task, 0.2);
    const at = async (parameters: Float32Array[]) =>
      (await evaluateDpo(policy.run, task, parameters, task.pairs))['eval_loss']!;
    const start = state.parameters.map((each) => each.slice());
    const { loss } = await dpoStepOn(training.run, task, state, task.pairs);
    // The formula is evaluated in float64 on float32 logps, the graph in float32: 1e-6 for a loss of about 1.
    expect(Math.abs(loss! - (await at(start)))).toBeLessThan(3e-6 * weight);
    // Without momentum the first moments are the gradients. The slope along them, layer by layer, by a difference of h = 0.02:
    // logps have an error of about 2e-6, so the slope has an error of 1e-4; h^2 times a third derivative of about 1 adds no more than that.
    for (const [layer, gradient] of state.firstMoments.entries()) {
      const length = Math.hypot(...gradient);
      const moved = (h: number) =>
        start.map((each, i) => (i === layer ? each.map((x, j) => x + (h * gradient[j]!) / length) : each));
      const slope = ((await at(moved(0.01))) - (await at(moved(-0.01)))) / 0.02;
      expect(Math.abs(slope / length - 1), `layer ${layer}: ${slope}, not ${length}`).toBeLessThan(2e-3);
    }
  },
);

test('micro-batches of one pair, a few pairs or all pairs give the same training', async () => {
  const settings = {
    batchSize: 8,
    learningRate: 1e-3,
    // Large enough that gradients which are only rounding errors do not become whole steps.
    adamEpsilon: 1e-3,
  };
  const ends: Float32Array[][] = [];
  for (const rowLimit of [1, 60, 100_000]) {
    const task = { ...tiny.task(settings), rowLimit };
    const state = tinyState(task);
    let microBatches = 0;
    const count = () => void (microBatches += 1);
    for (let step = 0; step < 4; step++) await dpoStep(training.run, task, state, count);
    if (rowLimit === 1) expect(microBatches).toBe(8 + 3 + 8 + 3);
    if (rowLimit === 100_000) expect(microBatches).toBe(4);
    ends.push(state.parameters);
  }
  const [alone, ...others] = ends;
  for (const parameters of others) {
    parameters.forEach((vector, layer) =>
      // Gradients agree to 1e-6; Adam divides them by at least adamEpsilon: 4 steps of 1e-3 * 1e-6 / 1e-3.
      vector.forEach((value, i) => expect(Math.abs(value - alone![layer]![i]!)).toBeLessThan(4e-6)),
    );
  }
});

test('a training that is resumed at any step, in a new session with another number of threads, ends with the same bytes', async () => {
  // Everything that a step may depend on: two epochs of three batches, the last one smaller, warm-up, decay, clipping, momentum.
  const settings: HyperparameterInput = {
    duration: { $case: 'numTrainEpochs', value: 2 },
    warmup: { $case: 'warmupSteps', value: 2 },
    lrSchedulerType: 'cosine',
    weightDecay: 0.1,
    maxGradNorm: 0.5,
    labelSmoothing: 0.1,
  };
  const straight = tinyState(tiny.task());
  await train(straight, 6, settings);
  const other = await tiny.open(dpoGraph(tiny.base, lora, 'sigmoid'), 1);
  for (const at of [0, 1, 3, 5]) {
    const first = tinyState(tiny.task());
    await train(first, at, settings);
    const resumed = unpackState(packState(first), tiny.task().layout);
    await train(resumed, 6 - at, settings, other.run);
    expect(digest(resumed), `resumed at ${at}`).toBe(digest(straight));
  }
});

test('the same seed gives the same bytes, and another seed gives different ones', async () => {
  const end = async (seed: number) => {
    const state = tinyState(tiny.task(), 0, seed);
    await train(state, 4, { seed });
    return digest(state);
  };
  expect(await end(5)).toBe(await end(5));
  expect(await end(5)).not.toBe(await end(6));
});

test.each<[string, HyperparameterInput]>([
  ['learning_rate', { learningRate: 2e-2 }],
  ['lr_scheduler_type', { lrSchedulerType: 'cosine' }],
  ['warmup_steps', { warmup: { $case: 'warmupSteps', value: 1 } }],
  ['warmup_ratio', { warmup: { $case: 'warmupRatio', value: 0.5 } }],
  ['num_train_epochs', { duration: { $case: 'numTrainEpochs', value: 3 } }],
  ['max_steps', { duration: { $case: 'maxSteps', value: 7 } }],
  ['max_grad_norm', { maxGradNorm: 0.01 }],
  ['weight_decay', { weightDecay: 0.5 }],
  ['adam_beta1', { adamBeta1: 0.5 }],
  ['adam_beta2', { adamBeta2: 0.5 }],
  ['adam_epsilon', { adamEpsilon: 1e-2 }],
  ['beta', { beta: 0.4 }],
  ['label_smoothing', { labelSmoothing: 0.2 }],
  ['losses', { losses: [{ type: 'sigmoid', weight: 3 }], maxGradNorm: 0 }],
  ['batch_size', { batchSize: 2 }],
  ['seed', { seed: 1 }],
])('%s has an effect', async (_, change) => {
  const plain = tinyState(tiny.task());
  const changed = tinyState(tiny.task());
  await train(plain, 2);
  await train(changed, 2, change);
  expect(digest(changed)).not.toBe(digest(plain));
});

test('a loss that is not finite ends the training with a clear error and leaves the state unchanged', async () => {
  const task = tiny.task();
  const state = tinyState(task);
  await dpoStep(training.run, task, state);
  const before = copy(state);
  const broken = dpoBatches(task)(state.step)[2];
  const pairs = task.pairs.map((pair) =>
    pair === broken ? { ...pair, pairDigest: 'that', referenceChosen: NaN } : pair,
  );
  await expect(dpoStep(training.run, { ...task, pairs }, state)).rejects.toMatchObject({
    reason: 'NON_FINITE',
    message: expect.stringContaining('the first pair whose logps are not finite is that') as string,
    metadata: { step: '2', pair_digest: 'that' },
  });
  expect(digest(state)).toBe(digest(before));
});

test('a stop between micro-batches leaves the state unchanged', async () => {
  const task = { ...tiny.task(), rowLimit: 1 };
  const state = tinyState(task);
  const before = digest(state);
  let runs = 0;
  const run: RunGraph = (feeds) => {
    runs += 1;
    return training.run(feeds);
  };
  const stop = () => {
    if (runs === 2) throw new Error('stop');
  };
  await expect(dpoStep(run, task, state, stop)).rejects.toThrow('stop');
  expect([runs, digest(state)]).toEqual([2, before]);
});

test('while a micro-batch runs, the next one is packed and the last results are used', async () => {
  const events: string[] = [];
  const run: RunGraph = async ({ x }) => {
    const name = String(x!.data[0]);
    events.push(`start ${name}`);
    await new Promise((resolve) => setImmediate(resolve));
    events.push(`end ${name}`);
    return {};
  };
  const pack = (part: number) => {
    events.push(`pack ${part}`);
    return { feeds: { x: { dtype: 'int32' as const, dims: [1], data: Int32Array.of(part) } } };
  };
  for await (const { part } of microBatchResults(run, [1, 2, 3], pack, {})) events.push(`use ${part}`);
  expect(events).toEqual([
    ...['pack 1', 'start 1', 'pack 2', 'end 1'],
    ...['start 2', 'use 1', 'pack 3', 'end 2'],
    ...['start 3', 'use 2', 'end 3', 'use 3'],
  ]);
});
