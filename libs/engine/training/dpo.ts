import { PairwiseError } from '@pairwise/errors';
import { packTrees, rowCount, type Feed, type LoraLayer, type ModelConfig, type TokenTree } from '@pairwise/model';
import { expertLoadName } from './graphs.ts';
import { batchOrder, planMicroBatches } from './batches.ts';
import { stepCount, warmupStepCount, type Hyperparameters } from './hyperparameters.ts';
import { meanLoss, type PairLogps } from './losses.ts';
import { batchMetrics, expertLoad, type Metrics } from './metrics.ts';
import { treeLogps } from './logps.ts';
import { microBatchResults, type RunGraph, type StopCheck } from './microBatches.ts';
import { adamwStep, clipFactor, globalNorm, type OptimizerState } from './optimizer.ts';
import { learningRateAt } from './schedule.ts';

/** A pair to train on: token ids, and the reference's summed logps in nats. */
export interface TrainingPair {
  /** Names the pair in errors. */
  pairDigest?: string;
  prompt: Int32Array;
  chosen: Int32Array;
  rejected: Int32Array;
  referenceChosen: number;
  referenceRejected: number;
}

/** A training, apart from its state. */
export interface DpoTask {
  config: ModelConfig;
  layout: readonly LoraLayer[];
  pairs: readonly TrainingPair[];
  hyperparameters: Hyperparameters;
  /** The most rows in a micro-batch of several pairs; peak memory follows it. @default 1024 */
  rowLimit?: number;
}

/** The feeds of an adapter. */
export function adapterFeeds(layout: readonly LoraLayer[], parameters: readonly Float32Array[]): Record<string, Feed> {
  const feed = (data: Float32Array): Feed => ({ dtype: 'float32', dims: [data.length], data });
  return Object.fromEntries(layout.map(({ feed: name }, index) => [name, feed(parameters[index]!)]));
}

/**
 * Takes the next optimizer step, on the pairs that the step's number and the seed select, and updates `state` in place.
 * `run` must run a `dpoGraph`. Throws NON_FINITE, with `state` unchanged, if the loss or a gradient is not finite.
 */
export async function dpoStep(
  run: RunGraph,
  task: DpoTask,
  state: OptimizerState,
  stopCheck?: StopCheck,
): Promise<Metrics> {
  return dpoStepOn(run, task, state, dpoBatches(task)(state.step), stopCheck);
}

/** Selects the pairs of each optimizer step; steps count from 0. */
export function dpoBatches({
  pairs,
  hyperparameters,
}: Pick<DpoTask, 'pairs' | 'hyperparameters'>): (step: number) => TrainingPair[] {
  const order = batchOrder(pairs.length, hyperparameters.batchSize, hyperparameters.seed);
  return (step) => Array.from(order(step), (index) => pairs[index]!);
}

/** Takes the next optimizer step on a given batch; otherwise like `dpoStep`. */
export async function dpoStepOn(
  run: RunGraph,
  { config, layout, pairs, hyperparameters, rowLimit }: DpoTask,
  state: OptimizerState,
  batch: readonly TrainingPair[],
  stopCheck?: StopCheck,
): Promise<Metrics> {
  const step = state.step + 1;
  const trees = batch.map(treeOf);
  const gradients = layout.map(({ size }) => new Float32Array(size));
  const { experts, layerCount } = config;
  const loads = experts ? Array.from({ length: layerCount }, () => new Float32Array(experts.count)) : [];
  const logps: PairLogps[] = [];
  let loss = 0;
  const parts = planMicroBatches(trees, rowLimit);
  const adapter = adapterFeeds(layout, state.parameters);
  const pack = (part: readonly number[]) => {
    const pairs = part.map((index) => batch[index]!);
    return { feeds: microBatchFeeds(pairs, config, hyperparameters, batch.length) };
  };
  for await (const { part, results } of microBatchResults(run, parts, pack, adapter, stopCheck)) {
    const values = (name: string) => results[name]!.data as Float32Array;
    loss += values('loss')[0]!;
    gradients.forEach((sum, layer) => addTo(sum, values(`gradient_${layer}`)));
    const [chosen, rejected] = [values('chosen_logps'), values('rejected_logps')];
    loads.forEach((load, layer) => addTo(load, values(expertLoadName(layer))));
    part.forEach((index, place) => {
      logps[index] = pairLogps(batch[index]!, chosen[place]!, rejected[place]!);
    });
  }
  const gradNorm = globalNorm(gradients);
  if (!Number.isFinite(loss) || !Number.isFinite(gradNorm)) {
    const pair = batch[logps.findIndex((each) => !Object.values(each).every(Number.isFinite))];
    throw nonFinite(step, loss, gradNorm, pair);
  }
  const total = stepCount(pairs.length, hyperparameters);
  const learningRate = learningRateAt(step, {
    type: hyperparameters.lrSchedulerType,
    learningRate: hyperparameters.learningRate,
    warmupSteps: warmupStepCount(hyperparameters, total),
    stepCount: total,
  });
  adamwStep(state, gradients, { ...hyperparameters, learningRate }, clipFactor(gradNorm, hyperparameters.maxGradNorm));
  const metrics = {
    loss,
    ...batchMetrics(logps, hyperparameters.beta),
    grad_norm: gradNorm,
    learning_rate: learningRate,
  };
  return experts ? { ...metrics, expert_load: expertLoad(loads) } : metrics;
}

/** Metrics of the policy on held-out pairs, with the prefix `eval_`. `run` must run a `policyGraph`. */
export async function evaluateDpo(
  run: RunGraph,
  { config, layout, hyperparameters }: Omit<DpoTask, 'pairs'>,
  parameters: readonly Float32Array[],
  pairs: readonly TrainingPair[],
  stopCheck?: StopCheck,
): Promise<Metrics> {
  const trees = pairs.map(treeOf);
  const tokens = await treeLogps(run, config, trees, adapterFeeds(layout, parameters), stopCheck);
  const logps = pairs.map((pair, index) => pairLogps(pair, sum(tokens[index]![0]!), sum(tokens[index]![1]!)));
  const metrics = { loss: meanLoss(logps, hyperparameters), ...batchMetrics(logps, hyperparameters.beta) };
  return Object.fromEntries(Object.entries(metrics).map(([name, value]) => [`eval_${name}`, value]));
}

/** A pair as a token tree: its prompt with two branches, the chosen response first. */
export function treeOf({ prompt, chosen, rejected }: Pick<TrainingPair, 'prompt' | 'chosen' | 'rejected'>): TokenTree {
  return { prefix: prompt, branches: [chosen, rejected] };
}

/** The number of tokens that go through the model; a prompt counts once for both of its responses. */
export function tokenCount(pairs: readonly Pick<TrainingPair, 'prompt' | 'chosen' | 'rejected'>[]): number {
  return pairs.reduce((total, pair) => total + rowCount(treeOf(pair)), 0);
}

function microBatchFeeds(
  pairs: readonly TrainingPair[],
  config: ModelConfig,
  hyperparameters: Hyperparameters,
  batchLength: number,
): Record<string, Feed> {
  const { feeds, branches, targetCount } = packTrees(pairs.map(treeOf), config);
  const sums = [0, 1].map(() => new Float32Array(pairs.length * targetCount));
  for (const { tree, branch, start, end } of branches) {
    sums[branch]!.fill(1, tree * targetCount + start, tree * targetCount + end);
  }
  const matrix = (data: Float32Array): Feed => ({ dtype: 'float32', dims: [pairs.length, targetCount], data });
  const column = (values: number[]): Feed => ({
    dtype: 'float32',
    dims: [values.length, 1],
    data: Float32Array.from(values),
  });
  const scalar = (value: number): Feed => ({ dtype: 'float32', dims: [], data: Float32Array.of(value) });
  return {
    ...feeds,
    chosen_sum: matrix(sums[0]!),
    rejected_sum: matrix(sums[1]!),
    reference_chosen: column(pairs.map(({ referenceChosen }) => referenceChosen)),
    reference_rejected: column(pairs.map(({ referenceRejected }) => referenceRejected)),
    beta: scalar(hyperparameters.beta),
    label_smoothing: scalar(hyperparameters.labelSmoothing),
    pair_weight: scalar(hyperparameters.losses[0].weight / batchLength),
  };
}

function pairLogps(pair: TrainingPair, chosen: number, rejected: number): PairLogps {
  const { referenceChosen, referenceRejected } = pair;
  return { policyChosen: chosen, policyRejected: rejected, referenceChosen, referenceRejected };
}

function addTo(sum: Float32Array, values: Float32Array): void {
  for (let i = 0; i < sum.length; i++) sum[i]! += values[i]!;
}

/** The sum, in float64. */
export function sum(values: Float32Array): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}

function nonFinite(step: number, loss: number, gradNorm: number, pair: TrainingPair | undefined): PairwiseError {
  const { pairDigest } = pair ?? {};
  const first = pairDigest === undefined ? '' : `, and the first pair whose logps are not finite is ${pairDigest}`;
  const message = `at step ${step} the loss is ${loss} and the gradient norm ${gradNorm}${first}; lower the learning rate`;
  const metadata = { step: String(step), ...(pairDigest !== undefined && { pair_digest: pairDigest }) };
  return new PairwiseError('NON_FINITE', message, { metadata });
}
