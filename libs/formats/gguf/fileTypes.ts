import type { TensorType } from './tensorTypes.ts';

interface FileType {
  /** The value of `general.file_type` (llama.h, `llama_ftype`). */
  id: number;
  /** The type of most matrices. */
  matrices: TensorType;
  /** Whether llama.cpp makes the file from one of another type. */
  quantised: boolean;
  /**
   * The largest allowed difference between a token's logp in llama.cpp and in our engine, in nats. For quantised types it
   * limits the mean over all tokens, because single tokens may differ a lot, and for other types the largest difference.
   */
  tolerance: number;
}

/**
 * The types of GGUF files that we write, by the names that users know. Rounding alone stays well below the tolerances, and a
 * wrong tensor, order of rows or rotary embedding is far above. llama.cpp also rounds the activations: to 11 bits for F16
 * weights, and to 8 bits for BF16 and Q8_0.
 */
export const fileTypes = {
  F32: { id: 0, matrices: 'F32', quantised: false, tolerance: 0.002 },
  F16: { id: 1, matrices: 'F16', quantised: false, tolerance: 0.05 },
  BF16: { id: 32, matrices: 'BF16', quantised: false, tolerance: 0.5 },
  Q8_0: { id: 7, matrices: 'Q8_0', quantised: true, tolerance: 0.1 },
  Q4_K_M: { id: 15, matrices: 'Q4_K', quantised: true, tolerance: 0.5 },
} as const satisfies Record<string, FileType>;

export type GgufType = keyof typeof fileTypes;

/** The types that llama.cpp makes from F32, F16 and BF16 files. */
export type QuantizedType = {
  [Type in GgufType]: (typeof fileTypes)[Type]['quantised'] extends true ? Type : never;
}[GgufType];
