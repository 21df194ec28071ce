/*
 * Weights in fewer bits, with the numbers that bitsandbytes 0.50 gives (its CUDA kernels for NF4). The operators
 * `dequantizeNf4` and `dequantizeInt8` of libs/engine/onnx compute the same numbers within a graph.
 */
import { PairwiseError } from '@pairwise/errors';
import { nf4BlockSize, nf4Values, type Dtype } from '@pairwise/onnx';
import { bfloat16ToFloat32, float16ToFloat32, float32ToBfloat16, float32ToFloat16 } from '@pairwise/safetensors';

/** Weights as codes, and the largest magnitudes that scale them. */
export interface Quantized<Codes> {
  codes: Codes;
  absmax: Float32Array;
}

/** The code of x is the number of thresholds below it. They are the midpoints of neighbouring values, in float32. */
const nf4Thresholds = [
  -0.8480964303016663, -0.6106328964233398, -0.4599952697753906, -0.33967941999435425, -0.23460739850997925,
  -0.13791173696517944, -0.045525018125772476, 0.03979014977812767, 0.1202552542090416, 0.2035212516784668,
  0.2920137643814087, 0.3893125355243683, 0.5016633868217468, 0.6427869200706482, 0.8614783883094788,
];

/**
 * Weights in NF4: two codes a byte, the first in the high bits, and the largest magnitude of each block of 64 weights. A last
 * block may be shorter.
 */
export function quantizeNf4(weights: Float32Array): Quantized<Uint8Array> {
  const codes = new Uint8Array(Math.ceil(weights.length / 2));
  const absmax = new Float32Array(Math.ceil(weights.length / nf4BlockSize));
  for (let block = 0; block < absmax.length; block++) {
    const start = block * nf4BlockSize;
    const end = Math.min(start + nf4BlockSize, weights.length);
    const largest = largestMagnitude(weights, start, end);
    absmax[block] = largest;
    const factor = largest === 0 ? 0 : Math.fround(1 / largest);
    for (let i = start; i < end; i++) codes[i >> 1]! |= nf4Code(Math.fround(weights[i]! * factor)) << lowBits(i);
  }
  return { codes, absmax };
}

/** The first `count` weights, rounded to the dtype that they had. */
export function dequantizeNf4({ codes, absmax }: Quantized<Uint8Array>, count: number, dtype: Dtype): Float32Array {
  const weights = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    weights[i] = nf4Values[(codes[i >> 1]! >> lowBits(i)) & 15]! * absmax[Math.floor(i / nf4BlockSize)]!;
  }
  if (dtype === 'bfloat16') return bfloat16ToFloat32(float32ToBfloat16(weights));
  return dtype === 'float16' ? float16ToFloat32(float32ToFloat16(weights)) : weights;
}

/** How far the code of weight i is from the low end of its byte. */
const lowBits = (i: number) => (i % 2 === 0 ? 4 : 0);

function nf4Code(x: number): number {
  let code = x > nf4Thresholds[7]! ? 8 : 0;
  if (x > nf4Thresholds[code + 3]!) code += 4;
  if (x > nf4Thresholds[code + 1]!) code += 2;
  return x > nf4Thresholds[code]! ? code + 1 : code;
}

/**
 * Weights `[rows, columns]` in int8: code * absmax / 127, with the largest magnitude of each row. Like bitsandbytes it first
 * rounds the weights to float16, and halves to even codes.
 */
export function quantizeInt8(weights: Float32Array, columns: number): Quantized<Int8Array> {
  if (weights.length % columns !== 0) {
    throw new PairwiseError('WRONG_SHAPE', `${weights.length} weights are not rows of ${columns}`);
  }
  const rounded = float16ToFloat32(float32ToFloat16(weights));
  const codes = new Int8Array(weights.length);
  const absmax = new Float32Array(weights.length / columns);
  for (let row = 0; row < absmax.length; row++) {
    const [start, end] = [row * columns, (row + 1) * columns];
    const largest = largestMagnitude(rounded, start, end);
    absmax[row] = largest;
    const factor = largest === 0 ? 0 : Math.fround(127 / largest);
    for (let i = start; i < end; i++) codes[i] = roundHalfToEven(Math.fround(rounded[i]! * factor));
  }
  return { codes, absmax };
}

/** The weights in float32. */
export function dequantizeInt8({ codes, absmax }: Quantized<Int8Array>): Float32Array {
  const columns = codes.length / absmax.length;
  const scaled = (code: number, i: number) => Math.fround(code * absmax[Math.floor(i / columns)]!);
  return Float32Array.from(codes, (code, i) => scaled(code, i) * Math.fround(1 / 127));
}

function roundHalfToEven(x: number): number {
  return Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x);
}

function largestMagnitude(values: Float32Array, start: number, end: number): number {
  let largest = 0;
  for (let i = start; i < end; i++) largest = Math.max(largest, Math.abs(values[i]!));
  return largest;
}
