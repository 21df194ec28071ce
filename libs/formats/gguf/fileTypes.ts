import type { TensorType } from './tensorTypes.ts';

interface FileType {
  /** The value of `general.file_type` (llama.h, `llama_ftype`). */
  id: number;
  /** The type of most matrices. */
  matrices: TensorType;
  /** Whether llama.cpp makes the file from one of another type. */
  quantised: boolean;
  /** Whether the file is quantised with an importance matrix, which gains little for types with more bits. */
  usesImportance?: boolean;
  /**
   * The largest allowed difference between a token's logp in llama.cpp and in our engine, in nats. Quantised files have none:
   * they are compared with the file that they were made from.
   */
  tolerance?: number;
  /** The same for the mean difference, which counts in mixtures of experts. */
  meanTolerance?: number;
}

/**
 * The types of GGUF files that we write, by the names that users know, from large to small. llama.cpp also rounds the
 * activations: to 11 bits for F16 weights, and to 8 bits for BF16 and the quantised types.
 *
 * On SmolLM2-135M in bfloat16, with 30 layers, the base model's F16 file differs by up to 0.015 nats in 1,006 tokens, because of
 * its activations alone. With an adapter merged in, the weights need more than 11 bits, and 2,113 tokens differ by up to 0.062
 * (99%: 0.024, mean: 0.003). 0.15 is 2.4 times that, and BF16 is 8 times as coarse; its files differ by up to 0.16 in 1,006
 * tokens. F32 files differ by up to 0.00003 there, so a 16-bit file is also verified before its weights are rounded.
 */
export const fileTypes = {
  F32: { id: 0, matrices: 'F32', quantised: false, tolerance: 0.002 },
  F16: { id: 1, matrices: 'F16', quantised: false, tolerance: 0.15, meanTolerance: 0.05 },
  BF16: { id: 32, matrices: 'BF16', quantised: false, tolerance: 1.2, meanTolerance: 0.5 },
  Q8_0: { id: 7, matrices: 'Q8_0', quantised: true },
  Q6_K: { id: 18, matrices: 'Q6_K', quantised: true },
  Q5_K_M: { id: 17, matrices: 'Q5_K', quantised: true },
  Q5_K_S: { id: 16, matrices: 'Q5_K', quantised: true },
  Q5_0: { id: 8, matrices: 'Q5_0', quantised: true },
  Q4_K_M: { id: 15, matrices: 'Q4_K', quantised: true },
  Q4_K_S: { id: 14, matrices: 'Q4_K', quantised: true },
  IQ4_NL: { id: 25, matrices: 'IQ4_NL', quantised: true, usesImportance: true },
  Q4_0: { id: 2, matrices: 'Q4_0', quantised: true },
  IQ4_XS: { id: 30, matrices: 'IQ4_XS', quantised: true, usesImportance: true },
  Q3_K_M: { id: 12, matrices: 'Q3_K', quantised: true, usesImportance: true },
  Q2_K: { id: 10, matrices: 'Q2_K', quantised: true, usesImportance: true },
} as const satisfies Record<string, FileType>;

export type GgufType = keyof typeof fileTypes;

/** The types that llama.cpp makes from F32, F16 and BF16 files. */
export type QuantizedType = {
  [Type in GgufType]: (typeof fileTypes)[Type]['quantised'] extends true ? Type : never;
}[GgufType];

/** Whether llama.cpp makes files of this type from F32, F16 and BF16 files. */
export function isQuantized(type: GgufType): type is QuantizedType {
  return fileTypes[type].quantised;
}

/** Whether a type is made with an importance matrix. */
export function usesImportance(type: GgufType): boolean {
  return 'usesImportance' in fileTypes[type];
}
