import { PairwiseError } from '@pairwise/errors';
import { bfloat16ToFloat32, float16ToFloat32, float32ToBfloat16, float32ToFloat16 } from '@pairwise/safetensors';

/** The dtypes in which Pairwise itself stores weights. */
export type StoredType = 'F32' | 'F16' | 'BF16';

/** Bytes per weight. */
export const storedBytes: Record<StoredType, number> = { F32: 4, F16: 2, BF16: 2 };

/** Converts the little-endian bytes of a safetensors tensor to float32, exactly. */
export function decodeWeights(bytes: Uint8Array, type: StoredType): Float32Array {
  // Typed arrays require alignment, so unaligned bytes are copied.
  const { buffer, byteOffset } = bytes.byteOffset % 4 === 0 ? bytes : new Uint8Array(bytes);
  const count = bytes.length / storedBytes[type];
  if (type === 'F32') return new Float32Array(buffer, byteOffset, count);
  const bits = new Uint16Array(buffer, byteOffset, count);
  return type === 'F16' ? float16ToFloat32(bits) : bfloat16ToFloat32(bits);
}

/** Converts float32 to little-endian bytes of a dtype, rounding to nearest with ties to even. */
export function encodeWeights(values: Float32Array, type: StoredType): Uint8Array {
  const stored = type === 'F32' ? values : type === 'F16' ? float32ToFloat16(values) : float32ToBfloat16(values);
  return new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength);
}

/** The largest finite value of each dtype. */
const largest: Record<StoredType, number> = { F32: 3.4028234663852886e38, F16: 65504, BF16: 3.3895313892515355e38 };

/** Like `encodeWeights`, but throws NON_FINITE for NaN, infinities and values that the dtype cannot represent. */
export function encodeFinite(name: string, values: Float32Array, type: StoredType): Uint8Array {
  const limit = largest[type];
  for (const value of values) {
    if (Math.abs(value) <= limit) continue;
    const remedy = Number.isFinite(value) ? 'export as BF16 or F32' : 'the training has diverged';
    throw new PairwiseError('NON_FINITE', `${name} contains ${value}, which ${type} cannot represent: ${remedy}`);
  }
  return encodeWeights(values, type);
}
