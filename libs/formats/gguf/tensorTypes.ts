import { PairwiseError } from '@pairwise/errors';

/** How ggml stores a tensor type: blocks of `blockWeights` weights of a row in `blockBytes` bytes (gguf-py, constants.py). */
export interface TensorTypeLayout {
  id: number;
  blockWeights: number;
  blockBytes: number;
}

/** The tensor types of GGUF by ggml's names. */
export const tensorTypes = {
  F32: { id: 0, blockWeights: 1, blockBytes: 4 },
  F16: { id: 1, blockWeights: 1, blockBytes: 2 },
  Q4_0: { id: 2, blockWeights: 32, blockBytes: 18 },
  Q4_1: { id: 3, blockWeights: 32, blockBytes: 20 },
  Q5_0: { id: 6, blockWeights: 32, blockBytes: 22 },
  Q5_1: { id: 7, blockWeights: 32, blockBytes: 24 },
  Q8_0: { id: 8, blockWeights: 32, blockBytes: 34 },
  Q8_1: { id: 9, blockWeights: 32, blockBytes: 36 },
  Q2_K: { id: 10, blockWeights: 256, blockBytes: 84 },
  Q3_K: { id: 11, blockWeights: 256, blockBytes: 110 },
  Q4_K: { id: 12, blockWeights: 256, blockBytes: 144 },
  Q5_K: { id: 13, blockWeights: 256, blockBytes: 176 },
  Q6_K: { id: 14, blockWeights: 256, blockBytes: 210 },
  Q8_K: { id: 15, blockWeights: 256, blockBytes: 292 },
  IQ2_XXS: { id: 16, blockWeights: 256, blockBytes: 66 },
  IQ2_XS: { id: 17, blockWeights: 256, blockBytes: 74 },
  IQ3_XXS: { id: 18, blockWeights: 256, blockBytes: 98 },
  IQ1_S: { id: 19, blockWeights: 256, blockBytes: 50 },
  IQ4_NL: { id: 20, blockWeights: 32, blockBytes: 18 },
  IQ3_S: { id: 21, blockWeights: 256, blockBytes: 110 },
  IQ2_S: { id: 22, blockWeights: 256, blockBytes: 82 },
  IQ4_XS: { id: 23, blockWeights: 256, blockBytes: 136 },
  I8: { id: 24, blockWeights: 1, blockBytes: 1 },
  I16: { id: 25, blockWeights: 1, blockBytes: 2 },
  I32: { id: 26, blockWeights: 1, blockBytes: 4 },
  I64: { id: 27, blockWeights: 1, blockBytes: 8 },
  F64: { id: 28, blockWeights: 1, blockBytes: 8 },
  IQ1_M: { id: 29, blockWeights: 256, blockBytes: 56 },
  BF16: { id: 30, blockWeights: 1, blockBytes: 2 },
  TQ1_0: { id: 34, blockWeights: 256, blockBytes: 54 },
  TQ2_0: { id: 35, blockWeights: 256, blockBytes: 66 },
  MXFP4: { id: 39, blockWeights: 32, blockBytes: 17 },
} as const satisfies Record<string, TensorTypeLayout>;

export type TensorType = keyof typeof tensorTypes;

const namesById = new Map<number, TensorType>(
  (Object.keys(tensorTypes) as TensorType[]).map((name) => [tensorTypes[name].id, name]),
);

/** The tensor type with this ggml id; undefined if the table does not contain it. */
export function tensorTypeOf(id: number): TensorType | undefined {
  return namesById.get(id);
}

/**
 * The size of a tensor in bytes; `dims` is in ggml's order, fastest dimension first.
 * Throws `WRONG_SHAPE` if a row is not a whole number of blocks.
 */
export function tensorBytes(name: string, type: TensorType, dims: readonly bigint[]): bigint {
  const { blockWeights, blockBytes } = tensorTypes[type];
  const row = dims[0] ?? 1n;
  if (row % BigInt(blockWeights) !== 0n) {
    throw new PairwiseError(
      'WRONG_SHAPE',
      `the rows of ${name} have ${row} weights; ${type} needs a multiple of ${blockWeights}`,
    );
  }
  const weights = dims.reduce((product, dim) => product * dim, 1n);
  return (weights / BigInt(blockWeights)) * BigInt(blockBytes);
}
