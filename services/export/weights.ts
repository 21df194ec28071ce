import { PairwiseError } from '@pairwise/errors';
import { loraLayout, loraScale, mergeLora } from '@pairwise/model';
import type { BaseModel, LoraSettings, ModelConfig } from '@pairwise/model';
import type { ModelFolder } from '@pairwise/safetensors';
import { adapterTensors } from '@pairwise/training';
import { decodeWeights } from './storage.ts';
import type { StoredType } from './storage.ts';

/** The weights of a model as float32. They are read a few rows at a time, so that a whole model is never in memory. */
export interface ExportWeights {
  /** The dtype in which the base model stores a tensor; `name` is Hugging Face's name. */
  storedType(name: string): StoredType;
  /** Reads `count` rows from row `first`, where rows are indexed by the first dimension. */
  rows(name: string, first: number, count: number): Promise<Float32Array>;
}

/** A trained adapter. */
export interface Adapter {
  lora: LoraSettings;
  /** One flat vector per layer, with the layout of `loraLayout`. */
  parameters: readonly Float32Array[];
}

/** The weights of a base model without an adapter. `read` reads a range of bytes of one of its files. */
export function baseWeights(baseModel: BaseModel, read: ModelFolder['read']): ExportWeights {
  const storedType = (name: string) => baseModel.weights.get(name)!.dtype as StoredType;
  return {
    storedType,
    async rows(name, first, count) {
      const { file, offset, length, shape } = baseModel.weights.get(name)!;
      const rowBytes = length / shape[0]!;
      const bytes = await read(file, offset + first * rowBytes, offset + (first + count) * rowBytes);
      if (bytes.length === count * rowBytes) return decodeWeights(bytes, storedType(name));
      throw new PairwiseError('INVALID_FILE', `${file} is too short for the rows of ${name}`, { metadata: { file } });
    },
  };
}

/** The factors A `[r, in]` and B `[out, r]` by the name of the weight `[out, in]` that they change, if the adapter does. */
export function adapterFactors(
  config: ModelConfig,
  { lora, parameters }: Adapter,
): (name: string) => { a: Float32Array; b: Float32Array } | undefined {
  const tensors = adapterTensors(loraLayout(config, lora), parameters);
  const factors = new Map(tensors.map(({ name, data }) => [name, data as Float32Array]));
  return (name) => {
    const prefix = `base_model.model.${name.replace(/\.weight$/, '')}`;
    const [a, b] = [factors.get(`${prefix}.lora_A.weight`), factors.get(`${prefix}.lora_B.weight`)];
    return a && b && { a, b };
  };
}

/** The weights with an adapter merged in: W + scale B A, rounded to float32 once. */
export function mergedWeights(base: ExportWeights, config: ModelConfig, adapter: Adapter): ExportWeights {
  const { lora } = adapter;
  const factorsOf = adapterFactors(config, adapter);
  const scale = loraScale(lora);
  return {
    storedType: (name) => base.storedType(name),
    async rows(name, first, count) {
      const rows = await base.rows(name, first, count);
      const factors = factorsOf(name);
      if (factors === undefined) return rows;
      const { a, b } = factors;
      mergeLora(rows, a, b.subarray(first * lora.r, (first + count) * lora.r), lora.r, scale);
      return rows;
    },
  };
}

/** Weights per chunk: 16 MiB of float32. */
const chunkWeights = 1 << 22;

/**
 * Reads a tensor in chunks of about `chunkWeights`. The rows of a chunk are a multiple of `group`, and at least one group.
 * Throws CANCELLED between chunks once `signal` is aborted.
 */
export async function* rowChunks(
  weights: Pick<ExportWeights, 'rows'>,
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
