/** The stored floats that are not JavaScript's: bits in Uint16Arrays to float32 and back, rounding to nearest even. */

const scratch = new Float32Array(1);
const scratchBits = new Uint32Array(scratch.buffer);

/** bfloat16 to float32: exact. */
export function bfloat16ToFloat32(bits: Uint16Array): Float32Array {
  const out = new Float32Array(bits.length);
  const outBits = new Uint32Array(out.buffer);
  for (let i = 0; i < bits.length; i++) outBits[i] = bits[i]! << 16;
  return out;
}

/** float32 to bfloat16. NaN stays NaN. */
export function float32ToBfloat16(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const out = new Uint16Array(values.length);
  for (let i = 0; i < bits.length; i++) {
    const word = bits[i]!;
    const isNaN = (word & 0x7fffffff) > 0x7f800000;
    out[i] = isNaN ? (word >>> 16) | 0x40 : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
  return out;
}

/** float16 to float32: exact. */
export function float16ToFloat32(bits: Uint16Array): Float32Array {
  const out = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) {
    const word = bits[i]!;
    const sign = word & 0x8000 ? -1 : 1;
    const exponent = (word >>> 10) & 0x1f;
    const fraction = word & 0x3ff;
    if (exponent === 0x1f) out[i] = fraction === 0 ? sign * Infinity : NaN;
    else out[i] = sign * (exponent === 0 ? fraction * 2 ** -24 : (fraction + 1024) * 2 ** (exponent - 25));
  }
  return out;
}

/** float32 to float16; above 65504 becomes infinite. */
export function float32ToFloat16(values: Float32Array): Uint16Array {
  const out = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) {
    const value = Math.f16round(values[i]!);
    scratch[0] = value;
    const word = scratchBits[0]!;
    const sign = (word >>> 16) & 0x8000;
    const magnitude = Math.abs(value);
    if (Number.isNaN(value)) out[i] = sign | 0x7e00;
    else if (magnitude === Infinity) out[i] = sign | 0x7c00;
    else if (magnitude < 2 ** -14) out[i] = sign | (magnitude * 2 ** 24);
    else out[i] = sign | (((word >>> 13) & 0x3ffff) - ((127 - 15) << 10));
  }
  return out;
}
