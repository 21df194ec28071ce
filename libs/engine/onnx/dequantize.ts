import type { Dtype } from './dtypes.ts';
import { describe, elements, sameShape, wrongShape } from './dims.ts';
import type { GraphBuilder, Value } from './graph.ts';

/** The 16 values of NF4 by their codes, for numbers between -1 and 1 (QLoRA, arXiv 2305.14314, appendix E). */
export const nf4Values: readonly number[] = [
  -1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
  -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
  0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1,
];

/** How many consecutive weights of NF4 share a largest magnitude. */
export const nf4BlockSize = 64;

/**
 * The matrix `[rows, columns]`, float32, of NF4 codes, uint8 `[rows, columns / 2]` with two in a byte, the first in its high
 * bits, and of the largest magnitude in each block, float32 `[rows columns / 64, 1]`. Like bitsandbytes it rounds the numbers
 * to `dtype`, the one that the weights had.
 */
export function dequantizeNf4(g: GraphBuilder, codes: Value, absmax: Value, dtype: Dtype): Value {
  const [rows, bytes] = codes.shape as readonly [number, number];
  if (2 * rows * bytes !== nf4BlockSize * elements(absmax.shape) || absmax.shape[1] !== 1) {
    throw wrongShape(`NF4 codes ${describe(codes)} with the largest magnitudes ${describe(absmax)}`);
  }
  const result = { dtype: 'float32', shape: [rows, 2 * bytes] } as const;
  return g.node('DequantizeNf4', [codes, absmax], { dtype: { text: dtype } }, [result])[0]!;
}

/** code * absmax / 127, for int8 codes `[rows, columns]` and the largest magnitude in each row, float32 `[rows]`. */
export function dequantizeInt8(g: GraphBuilder, codes: Value, absmax: Value): Value {
  if (codes.shape.length !== 2 || !sameShape(codes.shape.slice(0, 1), absmax.shape)) {
    throw wrongShape(`int8 codes ${describe(codes)} with the largest magnitudes ${describe(absmax)}`);
  }
  return g.node('DequantizeInt8', [codes, absmax], {}, [{ dtype: 'float32', shape: codes.shape }])[0]!;
}
