import { ops } from '@pairwise/onnx';
import type { DtypeAndShape, GraphBuilder, Node, Value } from '@pairwise/onnx';
import { PairwiseError } from '@pairwise/errors';

/** One node during the walk back from the loss. */
export interface VjpContext {
  readonly g: GraphBuilder;
  readonly node: Node;
  /**
   * Gradients of the loss with respect to the node's outputs, undefined for an output that does not influence it. A gradient may
   * have size 1 (or no axis) where its output has more: then all slices along that axis are equal, and rules keep them as
   * one for as long as they can.
   */
  readonly dy: readonly (Value | undefined)[];
  /** Whether the gradient with respect to input `index` is needed. */
  readonly wants: (index: number) => boolean;
}

/**
 * The vector-Jacobian product of an operator: from the gradients of its outputs to those of its inputs. It may leave those
 * that are not needed undefined.
 */
export type Rule = (context: VjpContext) => readonly (Value | undefined)[];

/** The node's first output. */
export function outputOf({ node }: VjpContext): Value {
  return node.outputs[0]!;
}

/** Input `index` of the node; the operator must require it. */
export function inputOf({ node }: VjpContext, index = 0): Value {
  return node.inputs[index]!;
}

/** The gradient of the only output, possibly smaller than it. */
export function smallDy({ dy }: VjpContext): Value {
  return dy[0]!;
}

/** The gradient of the only output, in its full shape. */
export function fullDy(context: VjpContext): Value {
  const y = outputOf(context);
  return ops(context.g).expand(smallDy(context), y.shape, y);
}

/** The numbers of input `index`, which must be a constant. */
export function constantNumbers({ g, node }: VjpContext, index: number): number[] {
  const data = g.constantData(node.inputs[index]!);
  if (data) return data.map(Number);
  const problem = `${node.op} has a gradient only if its sizes are constant (${node.name})`;
  throw new PairwiseError('INVALID_ARGUMENT', problem);
}

/**
 * Sums the gradient of an element-wise result down to an operand that was broadcast: over the axes along which the operand
 * was repeated. `dy` may be smaller than `result`; an axis of size 1 is multiplied by its length instead of summed.
 */
export function sumTo(g: GraphBuilder, dy: Value, operand: DtypeAndShape, result: Value): Value {
  const { expand, mul, reduceSum, squeeze } = ops(g);
  const rank = result.shape.length;
  const at = (shape: DtypeAndShape['shape'], axis: number) => shape[axis - rank + shape.length] ?? 1;
  const repeated = result.shape.flatMap((dim, axis) => (dim !== 1 && at(operand.shape, axis) === 1 ? [axis] : []));
  const counted = repeated.filter((axis) => at(dy.shape, axis) === 1);
  const known = counted.every((axis) => typeof result.shape[axis] === 'number');
  if (!known) return sumTo(g, expand(dy, result.shape, result), operand, result);
  const factor = counted.reduce((product, axis) => product * (result.shape[axis] as number), 1);
  let sum = factor === 1 ? dy : mul(dy, factor);
  const missing = rank - dy.shape.length;
  const axes = repeated.filter((axis) => !counted.includes(axis)).map((axis) => axis - missing);
  if (axes.length > 0) sum = reduceSum(sum, axes);
  const extra = sum.shape.length - operand.shape.length;
  return extra > 0 ? squeeze(sum, [...Array(extra).keys()]) : sum;
}
