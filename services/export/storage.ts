import { PairwiseError } from '@pairwise/errors';

/** How weights are stored in the files that Pairwise writes itself. */
export type StoredType = 'F32' | 'F16' | 'BF16';

export const storedBytes: Record<StoredType, number> = { F32: 4, F16: 2, BF16: 2 };

/** Float32 values from the little-endian bytes of a safetensors tensor. Exact. */
export function decodeWeights(bytes: Uint8Array, type: StoredType): Float32Array {
  const { buffer } = bytes.byteOffset % 4 === 0 ? bytes : new Uint8Array(bytes);
  const offset = bytes.byteOffset % 4 === 0 ? bytes.byteOffset : 0;
  const count = bytes.length / storedBytes[type];
  if (type === 'F32') return new Float32Array(buffer, offset, count);
  if (type === 'F16') return Float32Array.from(new Float16Array(buffer, offset, count));
  const words = new Uint32Array(count);
  const halves = new Uint16Array(buffer, offset, count);
  for (let index = 0; index < count; index++) words[index] = halves[index]! << 16;
  return new Float32Array(words.buffer);
}

/** Little-endian bytes of float32 values, rounded to nearest with ties to even. */
export function encodeWeights(values: Float32Array, type: StoredType): Uint8Array {
  if (type === 'F32') return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  if (type === 'F16') return new Uint8Array(Float16Array.from(values).buffer);
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const halves = new Uint16Array(values.length);
  for (let index = 0; index < halves.length; index++) {
    const word = words[index]!;
    const isNaN = (word & 0x7fffffff) > 0x7f800000;
    halves[index] = isNaN ? (word >>> 16) | 0x40 : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
  return new Uint8Array(halves.buffer);
}

/** Largest finite value of each type. */
const largest: Record<StoredType, number> = { F32: 3.4028234663852886e38, F16: 65504, BF16: 3.3895313892515355e38 };

/** `encodeWeights`, with `NON_FINITE` for values that are not numbers or that the type cannot hold. */
export function encodeFinite(name: string, values: Float32Array, type: StoredType): Uint8Array {
  const limit = largest[type];
  for (const value of values) {
    if (Math.abs(value) <= limit) continue;
    const remedy = Number.isFinite(value) ? 'export as BF16 or F32' : 'the training has diverged';
    throw new PairwiseError('NON_FINITE', `${name} holds ${value}, which ${type} cannot store: ${remedy}`);
  }
  return encodeWeights(values, type);
}
