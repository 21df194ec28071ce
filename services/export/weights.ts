import { PairwiseError } from '@pairwise/errors';
import type { StoredType } from './storage.ts';

/** The weights of a model to export, float32, a few rows at a time: no export ever holds a whole model. */
export interface ExportWeights {
  /** Hugging Face's tensors in the order of the base model's files. */
  tensors: readonly ExportTensor[];
  /** `count` rows from `first` on; a row is what one index of the first dimension holds. */
  rows(name: string, first: number, count: number): Promise<Float32Array>;
}

export interface ExportTensor {
  name: string;
  shape: readonly number[];
  /** How the base model stores it. */
  type: StoredType;
}

/** LoRA factors by PEFT's tensor names. */
export interface Adapter {
  /** What the product of the factors is multiplied by: alpha / r, or alpha / sqrt(r) for rank-stabilised LoRA. */
  scale: number;
  tensors: ReadonlyMap<string, { shape: readonly number[]; data: Float32Array }>;
}

/** The linear layer that a pair of factors belongs to, by the name of PEFT's lora_A tensor. */
const factorName = /^base_model\.model\.(.+)\.lora_A\.weight$/;

/**
 * Weights with an adapter merged in: W + scale * B A, summed in float64 and rounded to float32 once.
 * Throws `MISSING_TENSOR` and `WRONG_SHAPE` where the adapter does not fit the model.
 */
export function mergedWeights(base: ExportWeights, adapter: Adapter): ExportWeights {
  const pairs = factorPairs(base, adapter);
  return {
    tensors: base.tensors,
    async rows(name, first, count) {
      const rows = await base.rows(name, first, count);
      const pair = pairs.get(name);
      return pair ? merged(rows, first, count, pair, adapter.scale) : rows;
    },
  };
}

interface FactorPair {
  /** [r, in] */
  a: Float32Array;
  /** [out, r] */
  b: Float32Array;
  rank: number;
}

function factorPairs(base: ExportWeights, adapter: Adapter): Map<string, FactorPair> {
  const pairs = new Map<string, FactorPair>();
  const shapes = new Map(base.tensors.map(({ name, shape }) => [name, shape]));
  for (const [name, a] of adapter.tensors) {
    const layer = factorName.exec(name)?.[1];
    if (layer === undefined) continue;
    const b = adapter.tensors.get(name.replace(/lora_A\.weight$/, 'lora_B.weight'));
    const shape = shapes.get(`${layer}.weight`);
    if (!b || !shape)
      throw new PairwiseError('MISSING_TENSOR', `the adapter's ${name} has no partner in adapter and model`);
    const rank = a.shape[0]!;
    if (a.shape[1] !== shape[1] || b.shape[0] !== shape[0] || b.shape[1] !== rank) {
      throw new PairwiseError('WRONG_SHAPE', `the adapter's ${name} and its partner do not fit ${layer}.weight`);
    }
    pairs.set(`${layer}.weight`, { a: a.data, b: b.data, rank });
  }
  return pairs;
}

function merged(rows: Float32Array, first: number, count: number, pair: FactorPair, scale: number): Float32Array {
  const { a, b, rank } = pair;
  const width = rows.length / count;
  const result = new Float32Array(rows.length);
  const sum = new Float64Array(width);
  for (let row = 0; row < count; row++) {
    sum.set(rows.subarray(row * width, (row + 1) * width));
    for (let factor = 0; factor < rank; factor++) {
      const weight = scale * b[(first + row) * rank + factor]!;
      if (weight === 0) continue;
      const start = factor * width;
      for (let column = 0; column < width; column++) sum[column]! += weight * a[start + column]!;
    }
    result.set(sum, row * width);
  }
  return result;
}

/** Weights in a chunk: 16 MB of float32. */
const chunkWeights = 1 << 22;

/**
 * A tensor in chunks of whole rows, each a multiple of `group` rows, as far as one group fits a chunk.
 * Stops with `CANCELLED` between chunks once `signal` is aborted.
 */
export async function* rowChunks(
  weights: ExportWeights,
  tensor: { name: string; shape: readonly number[] },
  group: number,
  signal?: AbortSignal,
): AsyncGenerator<{ rows: Float32Array; count: number }> {
  const [total = 1, ...rest] = tensor.shape;
  const width = rest.reduce((product, dim) => product * dim, 1);
  const step = Math.max(1, Math.floor(chunkWeights / (width * group))) * group;
  for (let first = 0; first < total; first += step) {
    if (signal?.aborted) throw new PairwiseError('CANCELLED', 'the export was cancelled', { cause: signal.reason });
    const count = Math.min(step, total - first);
    yield { rows: await weights.rows(tensor.name, first, count), count };
  }
}
