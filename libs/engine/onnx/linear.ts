import { PairwiseError } from '@pairwise/errors';
import type { GraphBuilder, Value } from './graph.ts';
import type { Dim } from './dims.ts';
import { broadcast, describe, wrongShape } from './dims.ts';

/** Matrix product over the last two axes; the axes before them broadcast. Both operands need rank 2 or more. */
export function matMul(g: GraphBuilder, a: Value, b: Value): Value {
  if (a.shape.length < 2 || b.shape.length < 2) throw wrongShape(`MatMul of ${describe(a)} and ${describe(b)}`);
  sameInner(a, b, a.shape.at(-1)!, b.shape.at(-2)!);
  const shape = [...broadcast(a.shape.slice(0, -2), b.shape.slice(0, -2)), a.shape.at(-2)!, b.shape.at(-1)!];
  return g.node('MatMul', [a, b], {}, [{ dtype: a.dtype, shape }])[0]!;
}

export interface GemmOptions {
  /** Transpose a. @default false */
  readonly transA?: boolean;
  /** Transpose b: true for weights stored as `[out, in]`. @default false */
  readonly transB?: boolean;
  /** Factor of the product. @default 1 */
  readonly alpha?: number;
  /** Added to the result; broadcasts to `[m, n]`. @default none */
  readonly bias?: Value;
}

/** alpha * a' b' + bias for matrices, where ' is an optional transpose: `[m, n]`. */
export function gemm(g: GraphBuilder, a: Value, b: Value, options: GemmOptions = {}): Value {
  const { transA = false, transB = false, alpha = 1, bias } = options;
  if (a.shape.length !== 2 || b.shape.length !== 2) throw wrongShape(`Gemm of ${describe(a)} and ${describe(b)}`);
  const [m, k] = (transA ? a.shape.toReversed() : a.shape) as [Dim, Dim];
  const [k2, n] = (transB ? b.shape.toReversed() : b.shape) as [Dim, Dim];
  sameInner(a, b, k, k2);
  const attributes = { transA: Number(transA), transB: Number(transB), alpha: { float: alpha } };
  const inputs = bias ? [a, b, bias] : [a, b];
  return g.node('Gemm', inputs, attributes, [{ dtype: a.dtype, shape: [m, n] }])[0]!;
}

function sameInner(a: Value, b: Value, k: Dim, k2: Dim): void {
  if (k !== k2) throw wrongShape(`a product of ${describe(a)} and ${describe(b)} sums over ${k} and ${k2}`);
  if (a.dtype !== b.dtype) {
    throw new PairwiseError('INVALID_ARGUMENT', `a product of ${a.name} (${a.dtype}) and ${b.name} (${b.dtype})`);
  }
}
