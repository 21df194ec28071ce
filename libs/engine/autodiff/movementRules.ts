import { ops, product, reshapeSizes } from '@pairwise/onnx';
import type { GraphBuilder, Rows, Value } from '@pairwise/onnx';
import { PairwiseError } from '@pairwise/errors';
import type { Rule } from './vjpContext.ts';
import { fullDy, inputOf } from './vjpContext.ts';

/** x in the shape of `like`. It costs a Shape node only if a constant cannot express that shape. */
export function reshapeLike(g: GraphBuilder, x: Value, like: Value): Value {
  const { reshape, reshapeBy, shapeOf } = ops(g);
  if (reshapeSizes(x.shape, like.shape)) return reshape(x, like.shape);
  return reshapeBy(x, shapeOf(like), like.shape);
}

/** y = [x0 | x1 | ...]: dy is split at the same places. */
export const concatRule: Rule = (context) => {
  const { g, node } = context;
  const { concat, sizeOf, split, splitBy } = ops(g);
  const axis = node.attributes.axis as number;
  const inputs = node.inputs as readonly Value[];
  const sizes = inputs.map((input) => input.shape[axis]!);
  if (sizes.every((size) => typeof size === 'number')) return split(fullDy(context), axis, sizes);
  const sizesAtRunTime = inputs.map((input) => sizeOf(input, axis));
  const joined = concat(sizesAtRunTime, 0);
  return splitBy(fullDy(context), axis, joined, sizes);
};

/** x = [y0 | y1 | ...]: dx joins the parts; a part without a gradient counts as zero. */
export const splitRule: Rule = ({ g, node, dy }) => {
  const { concat, expand, scalar } = ops(g);
  const axis = node.attributes.axis as number;
  const parts = node.outputs.map((part, index) => expand(dy[index] ?? scalar(part.dtype, 0), part.shape, part));
  return [concat(parts, axis, node.inputs[0]!.shape[axis])];
};

/** y = x[index]: a row may be used several times, so the rows of dy are added into zeros, in order. */
export const gatherRule: Rule = (context) => {
  const { g, node } = context;
  const { expand, reshape, scalar, scatterAddRows } = ops(g);
  const [table, index] = [inputOf(context, 0), inputOf(context, 1)];
  const [rows, width] = table.shape;
  if (node.attributes.axis !== 0 || table.shape.length !== 2 || typeof rows !== 'number' || typeof width !== 'number') {
    const problem = `${node.name} does not gather rows of a matrix of known size: use gatherRows for a gradient`;
    throw new PairwiseError('INVALID_ARGUMENT', problem);
  }
  const count = product(index.shape);
  const zeros = expand(scalar(table.dtype, 0), [rows, width]);
  return [scatterAddRows(zeros, reshape(index, [count]), reshape(fullDy(context), [count, width]))];
};

/** y = x[index]: dx = dy[inverse 0] + dy[inverse 1] + ... */
export const gatherRowsRule: Rule = (context) => {
  const { g, node } = context;
  const { add, gatherRows } = ops(g);
  const none = node.attributes.inverseNone as readonly number[];
  const inverses = node.inputs.slice(2).map((index, at): Rows => ({ index: index!, none: none[at] === 1 }));
  if (inverses.length === 0) {
    throw new PairwiseError('INVALID_ARGUMENT', `${node.name} gathers rows without inverses, so it has no gradient`);
  }
  const dy = fullDy(context);
  return [inverses.map((inverse) => gatherRows(dy, inverse)).reduce((a, b) => add(a, b))];
};
