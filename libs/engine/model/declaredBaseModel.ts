import { PairwiseError } from '@pairwise/errors';
import { dtypeBytes, type ModelFolder, type StreamedTensor } from '@pairwise/safetensors';
import type { BaseModel } from './baseModel.ts';
import type { ModelConfig } from './config.ts';
import { quantizedLinears, type BaseQuantization } from './quantizedLinears.ts';
import { expectedTensors, type Weight } from './tensors.ts';

/** The dtypes that the weights of a base model may have, as safetensors names them. */
const weightDtypes = ['F32', 'F16', 'BF16'] as const;

/**
 * A base model of which only the config and the dtype of its weights are known: graphs of it have all shapes, but no file to
 * run with. Throws INVALID_ARGUMENT for another dtype, and the errors of `quantizedLinears`.
 */
export function declaredBaseModel(config: ModelConfig, dtype: string, quantization?: BaseQuantization): BaseModel {
  const known = weightDtypes.find((each) => each === dtype);
  if (known === undefined) {
    const message = `dtype: '${dtype}' is not one that weights can have; it must be F32, F16 or BF16`;
    throw new PairwiseError('INVALID_ARGUMENT', message, { field: 'dtype' });
  }
  const tensors = [...expectedTensors(config)].map(([name, shape]) => ({ name, shape, dtype: known }));
  const base: BaseModel = { config, weights: declared(tensors), isTextPart: false };
  if (quantization === undefined) return base;
  return { ...base, quantized: declared(quantizedLinears(noFolder, base, quantization)) };
}

function declared(tensors: readonly Pick<StreamedTensor, 'name' | 'shape' | 'dtype'>[]): Map<string, Weight> {
  const weights = tensors.map(({ name, shape, dtype }): [string, Weight] => {
    const length = shape.reduce((product, size) => product * size, dtypeBytes[dtype]);
    return [name, { name, shape: [...shape], dtype, file: '', offset: 0, length }];
  });
  return new Map(weights);
}

/** `quantizedLinears` reads weights only when its result is written. */
const noFolder: ModelFolder = {
  files: [],
  read: () => Promise.reject(new PairwiseError('INTERNAL', 'a declared model has no weights')),
};
