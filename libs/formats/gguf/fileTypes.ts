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
   * The largest allowed difference between a token's logp in llama.cpp and in our engine, in nats. For quantised types it
   * limits the mean over all tokens, because single tokens may differ a lot, and for other types the largest difference.
   */
  tolerance: number;
}

/**
 * The types of GGUF files that we write, by the names that users know, from large to small. llama.cpp also rounds the
 * activations: to 11 bits for F16 weights, and to 8 bits for BF16 and the quantised types.
 *
 * The tolerances of the quantised types are two to four times the mean difference that was measured on stories260K, padded
 * to rows of 256 weights, so that no other type takes the place of one: Q8_0 0.03, Q6_K 0.07, Q5_K_M 0.11, Q5_K_S 0.12,
 * Q5_0 0.13, Q4_K_M 0.20, Q4_K_S 0.21, IQ4_XS 0.24, IQ4_NL 0.25, Q4_0 0.29, Q3_K_M 0.49, Q2_K 1.9. Larger models lose less.
 * On the same model, one wrong matrix makes a difference of 0.6 to 2, and a wrong order of rows or layers 3 to 4. So the
 * tolerance of Q2_K cannot find such a fault; the other types are written from the same tensors and can.
 */
export const fileTypes = {
  F32: { id: 0, matrices: 'F32', quantised: false, tolerance: 0.002 },
  F16: { id: 1, matrices: 'F16', quantised: false, tolerance: 0.05 },
  BF16: { id: 32, matrices: 'BF16', quantised: false, tolerance: 0.5 },
  Q8_0: { id: 7, matrices: 'Q8_0', quantised: true, tolerance: 0.1 },
  Q6_K: { id: 18, matrices: 'Q6_K', quantised: true, tolerance: 0.2 },
  Q5_K_M: { id: 17, matrices: 'Q5_K', quantised: true, tolerance: 0.35 },
  Q5_K_S: { id: 16, matrices: 'Q5_K', quantised: true, tolerance: 0.35 },
  Q5_0: { id: 8, matrices: 'Q5_0', quantised: true, tolerance: 0.35 },
  Q4_K_M: { id: 15, matrices: 'Q4_K', quantised: true, tolerance: 0.5 },
  Q4_K_S: { id: 14, matrices: 'Q4_K', quantised: true, tolerance: 0.5 },
  IQ4_NL: { id: 25, matrices: 'IQ4_NL', quantised: true, usesImportance: true, tolerance: 0.6 },
  Q4_0: { id: 2, matrices: 'Q4_0', quantised: true, tolerance: 0.7 },
  IQ4_XS: { id: 30, matrices: 'IQ4_XS', quantised: true, usesImportance: true, tolerance: 0.6 },
  Q3_K_M: { id: 12, matrices: 'Q3_K', quantised: true, usesImportance: true, tolerance: 1.2 },
  Q2_K: { id: 10, matrices: 'Q2_K', quantised: true, usesImportance: true, tolerance: 4 },
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
