import type { GraphBuilder, Value } from './graph.ts';
import type { Dim } from './dims.ts';
import { axisOf } from './dims.ts';
import { sizeOf } from './reshape.ts';

export interface ReduceOptions {
  /** Keep the reduced axes with size 1. @default true */
  readonly keepDims?: boolean;
}

function reduction(op: string) {
  return (g: GraphBuilder, x: Value, axes: readonly number[], options: ReduceOptions = {}): Value => {
    const keepDims = options.keepDims ?? true;
    const reduced = axes.map((axis) => axisOf(x.shape, axis)).sort((a, b) => a - b);
    const shape = x.shape.flatMap((dim, axis) => (!reduced.includes(axis) ? [dim] : keepDims ? [1] : []));
    const inputs = [x, g.constant('int64', [reduced.length], reduced)];
    const attributes = { keepdims: Number(keepDims), noop_with_empty_axes: 1 };
    return g.node(op, inputs, attributes, [{ dtype: x.dtype, shape }])[0]!;
  };
}

/** Reduces the given axes; negative ones count from the end. An empty list reduces nothing. */
export const reduceSum = reduction('ReduceSum');
export const reduceMean = reduction('ReduceMean');
export const reduceMax = reduction('ReduceMax');

/** exp(x) / sum(exp(x)) over one axis, by default the last. */
export function softmax(g: GraphBuilder, x: Value, axis = -1): Value {
  return g.node('Softmax', [x], { axis: axisOf(x.shape, axis) }, [x])[0]!;
}

/** The places of the `count` largest values along the last axis, the largest first: int64. Of equal values the first counts. */
export function topIndices(g: GraphBuilder, x: Value, count: number): Value {
  return topK(g, x, g.constant('int64', [1], [count]), count, { largest: 1 });
}

/** The places of the numbers of a vector in ascending order, equal ones in theirs: int64. */
export function argsort(g: GraphBuilder, x: Value): Value {
  return topK(g, x, sizeOf(g, x, 0), x.shape[0]!, { largest: 0 });
}

function topK(g: GraphBuilder, x: Value, count: Value, size: Dim, { largest }: { largest: number }): Value {
  const attributes = { axis: x.shape.length - 1, largest, sorted: 1 };
  const shape = x.shape.with(-1, size);
  return g.node('TopK', [x, count], attributes, [
    { dtype: x.dtype, shape },
    { dtype: 'int64', shape },
  ])[1]!;
}
