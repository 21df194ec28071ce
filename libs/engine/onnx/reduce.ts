import type { GraphBuilder, Value } from './graph.ts';
import { axisOf } from './dims.ts';

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
