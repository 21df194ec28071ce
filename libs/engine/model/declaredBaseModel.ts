import { PairwiseError } from '@pairwise/errors';
import type { ModelFolder } from '@pairwise/safetensors';
import type { BaseModel } from './baseModel.ts';
import type { ModelConfig } from './config.ts';
import { quantizedLinears, type BaseQuantization } from './quantizedLinears.ts';
import { expectedTensors, type Weight } from './tensors.ts';

/** Dtypes of weights that a base model may have, as safetensors names them, with their bytes per weight. */
const weightBytes: Readonly<Record<string, number>> = { F32: 4, F16: 2, BF16: 2 };

const tensorBytes: Readonly<Record<string, number>> = { ...weightBytes, U8: 1, I8: 1 };

/**
 * A base model of which only the config and the dtype of its weights are known: graphs of it have all shapes, but no file to
 * run with. Throws INVALID_ARGUMENT for another dtype, and the errors of `quantizedLinears`.
 */
export function declaredBaseModel(config: ModelConfig, dtype: string, quantization?: BaseQuantization): BaseModel {
  if (weightBytes[dtype] === undefined) {
    const message = `dtype: '${dtype}' is not one that weights can have; it must be F32, F16 or BF16`;
    throw new PairwiseError('INVALID_ARGUMENT', message, { field: 'dtype' });
  }
  const tensors = [...expectedTensors(config)].map(([name, shape]) => ({ name, shape, dtype }));
  const base: BaseModel = { config, weights: declared(tensors), isTextPart: false };
  if (quantization === undefined) return base;
  return { ...base, quantized: declared(quantizedLinears(noFolder, base, quantization)) };
}

function declared(tensors: readonly { name: string; shape: readonly number[]; dtype: string }[]): Map<string, Weight> {
  const weights = tensors.map(({ name, shape, dtype }) => {
    const length = shape.reduce((product, size) => product * size, tensorBytes[dtype]!);
    return [name, { name, shape, dtype, file: 'undefined', offset: 0, length } as Weight] as const;
  });
  return new Map(weights);
}

/** `quantizedLinears` reads weights only when its result is written. */
const noFolder: ModelFolder = {
  files: [],
  read: () => Promise.reject(new PairwiseError('INTERNAL', 'a declared model has no weights')),
};
