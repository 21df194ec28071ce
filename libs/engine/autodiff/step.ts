import { expand, mul, reduceSum, squeeze } from '@pairwise/onnx';
import type { GraphBuilder, Node, Value, ValueType } from '@pairwise/onnx';

/** One node on the way back from the loss. */
export interface Step {
  readonly g: GraphBuilder;
  readonly node: Node;
  /**
   * Gradients of the loss with respect to the node's results, undefined where a result does not matter. Their shapes
   * may have 1 (or no axis) where the result has more: all slices along that axis are equal, and stay one as long as
   * the rules let them.
   */
  readonly dy: readonly (Value | undefined)[];
  /** Whether the gradient with respect to input `index` is wanted. */
  readonly wants: (index: number) => boolean;
}

/**
 * The vector-Jacobian product of one operator: gradients with respect to its inputs from those of its results.
 * What is not wanted may be left undefined.
 */
export type Rule = (step: Step) => readonly (Value | undefined)[];

/** The node's first result. */
export function resultOf(step: Step): Value {
  return step.node.outputs[0]!;
}

/** Input `index` of the node, which the operator's definition demands. */
export function inputOf(step: Step, index = 0): Value {
  return step.node.inputs[index]!;
}

/** The gradient of the only result, possibly smaller than it. */
export function smallDy(step: Step): Value {
  return step.dy[0]!;
}

/** The gradient of the only result in the result's full shape. */
export function fullDy(step: Step): Value {
  return expand(step.g, step.dy[0]!, resultOf(step).shape, resultOf(step));
}

/**
 * Takes a gradient of an element-wise result to an operand that was broadcast: sums over the axes along which the
 * operand was repeated. `dy` may be smaller than `result`; axes along which it is constant then stay of size 1, save
 * where the sum needs their number.
 */
export function sumTo(g: GraphBuilder, dy: Value, operand: ValueType, result: Value): Value {
  const rank = result.shape.length;
  const at = (shape: ValueType['shape'], axis: number) => shape[axis - rank + shape.length] ?? 1;
  const repeated = result.shape.flatMap((dim, axis) => (dim !== 1 && at(operand.shape, axis) === 1 ? [axis] : []));
  const counted = repeated.filter((axis) => at(dy.shape, axis) === 1);
  const known = counted.every((axis) => typeof result.shape[axis] === 'number');
  if (!known) return sumTo(g, expand(g, dy, result.shape, result), operand, result);
  const factor = counted.reduce((product, axis) => product * (result.shape[axis] as number), 1);
  let sum = factor === 1 ? dy : mul(g, dy, factor);
  const missing = rank - dy.shape.length;
  const axes = repeated.filter((axis) => !counted.includes(axis)).map((axis) => axis - missing);
  if (axes.length > 0) sum = reduceSum(g, sum, axes);
  const extra = sum.shape.length - operand.shape.length;
  return extra > 0
    ? squeeze(
        g,
        sum,
        Array.from({ length: extra }, (_, axis) => axis),
      )
    : sum;
}
