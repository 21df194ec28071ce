import { openSession, sharedTensor, type Tensor } from '@pairwise/ort';
import { expectedTensors, packTrees, type ModelConfig, type TokenTree } from '@pairwise/model';
import {
  adamwStep,
  clipFactor,
  crossEntropyGraph,
  globalNorm,
  initialState,
  learningRateAt,
  uniformStream,
} from '@pairwise/training';

/** Token ids of a text to train on. The first `promptLength` of them are the question. */
export interface Sequence {
  ids: Int32Array;
  promptLength: number;
}

export interface Pretraining {
  seed: number;
  stepCount: number;
  /** Least number of tokens in an optimizer step. */
  tokensPerStep: number;
  learningRate: number;
  warmupSteps: number;
  /** Weight of question tokens in the loss; answer tokens have weight 1. */
  promptWeight: number;
  threads: number;
}

const optimizer = { adamBeta1: 0.9, adamBeta2: 0.95, adamEpsilon: 1e-8, weightDecay: 0.01 };

/**
 * Trains a model from scratch with cross entropy, AdamW and a cosine schedule. Sequences do not attend to each other.
 * `progress` receives the loss per weighted token, in nats. Returns every tensor by name.
 */
export async function pretrain(
  config: ModelConfig,
  sequences: Iterator<Sequence, never>,
  settings: Pretraining,
  progress: (step: number, loss: number) => void,
): Promise<Map<string, Float32Array>> {
  const weights = initialWeights(config, settings.seed);
  const names = [...weights.keys()];
  const into = Object.fromEntries(names.map((name) => [`gradient/${name}`, like(weights.get(name)!)]));
  const state = initialState([...weights.values()].map(({ data }) => data));
  const session = await openSession({ graph: crossEntropyGraph(config), threads: settings.threads });
  try {
    for (let step = 1; step <= settings.stepCount; step++) {
      const { feeds, weightTotal } = nextBatch(config, sequences, settings);
      const results = await session.run({ ...feeds, ...Object.fromEntries(weights) }, { into });
      const gradients = names.map((name) => into[`gradient/${name}`]!.data);
      const norm = globalNorm(gradients) / weightTotal;
      const { learningRate, warmupSteps, stepCount } = settings;
      const rate = learningRateAt(step, { type: 'cosine', learningRate, warmupSteps, stepCount });
      adamwStep(state, gradients, { ...optimizer, learningRate: rate }, clipFactor(norm, 1) / weightTotal);
      progress(step, (results['loss']!.data as Float32Array)[0]! / weightTotal);
    }
  } finally {
    await session.close();
  }
  return new Map(names.map((name) => [name, weights.get(name)!.data]));
}

/** Norms are 1. Matrices are uniform with standard deviation 0.05, less for those that add to the residual stream. */
function initialWeights(config: ModelConfig, seed: number): Map<string, Tensor<'float32'>> {
  const uniform = uniformStream(seed, 'initial weights');
  return new Map(
    [...expectedTensors(config)].map(([name, shape]) => {
      const tensor = sharedTensor('float32', shape);
      const residual = /\.(o_proj|down_proj)\.weight$/.test(name) ? 1 / Math.sqrt(2 * config.layerCount) : 1;
      const bound = 0.05 * Math.sqrt(3) * residual;
      for (let i = 0; i < tensor.data.length; i++)
        tensor.data[i] = shape.length === 1 ? 1 : (2 * uniform() - 1) * bound;
      return [name, tensor];
    }),
  );
}

function like({ dims }: Tensor<'float32'>): Tensor<'float32'> {
  return sharedTensor('float32', dims);
}

function nextBatch(config: ModelConfig, sequences: Iterator<Sequence, never>, settings: Pretraining) {
  const batch: Sequence[] = [];
  for (let total = 0; total < settings.tokensPerStep; total += batch.at(-1)!.ids.length) {
    batch.push(sequences.next().value);
  }
  // Nothing precedes the first token, so it is the prefix, and all others are targets.
  const trees = batch.map(({ ids }): TokenTree => ({ prefix: ids.subarray(0, 1), branches: [ids.subarray(1)] }));
  const { feeds, branches, targetCount } = packTrees(trees, config);
  const data = new Float32Array(targetCount);
  for (const { tree, start, end } of branches) {
    data.fill(1, start, end).fill(settings.promptWeight, start, start + batch[tree]!.promptLength - 1);
  }
  const weightTotal = data.reduce((sum, weight) => sum + weight, 0);
  return { feeds: { ...feeds, token_weights: { dtype: 'float32', dims: [targetCount], data } as Tensor }, weightTotal };
}
