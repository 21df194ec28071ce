import {
  add,
  concat,
  expand,
  gatherRows,
  product,
  reshape,
  scalar,
  scatterAddRows,
  sizeOf,
  split,
  splitBy,
  squeeze,
  transpose,
  unsqueeze,
} from '@pairwise/onnx';
import type { Rows, Value } from '@pairwise/onnx';
import { PairwiseError } from '@pairwise/errors';
import type { Rule, Step } from './step.ts';
import { fullDy, inputOf, resultOf, smallDy, sumTo } from './step.ts';
import { reshapeLike } from './linear.ts';

function constantNumbers({ g, node }: Step, index: number): number[] {
  const data = g.constantData(node.inputs[index]!);
  if (!data)
    throw new PairwiseError('INVALID_ARGUMENT', `${node.op} has a gradient for constant sizes only (${node.name})`);
  return data.map(Number);
}

function inverse(perm: readonly number[]): number[] {
  return perm.map((_, axis) => perm.indexOf(axis));
}

function concatRule(step: Step): readonly (Value | undefined)[] {
  const { g, node } = step;
  const axis = node.attributes.axis as number;
  const inputs = node.inputs as readonly Value[];
  const sizes = inputs.map((input) => input.shape[axis]!);
  if (sizes.every((size) => typeof size === 'number')) return split(g, fullDy(step), axis, sizes);
  const runtime = concat(
    g,
    inputs.map((input) => sizeOf(g, input, axis)),
    0,
  );
  return splitBy(g, fullDy(step), axis, runtime, sizes);
}

function splitRule({ g, node, dy }: Step): readonly Value[] {
  const parts = node.outputs.map((part, index) => expand(g, dy[index] ?? scalar(g, part.dtype, 0), part.shape, part));
  return [concat(g, parts, node.attributes.axis as number, node.inputs[0]!.shape[node.attributes.axis as number])];
}

/** Rows used more than once need their gradients added: rows of dy are scattered into zeros, in their order. */
function gatherRule(step: Step): readonly Value[] {
  const { g, node } = step;
  const [table, index] = [inputOf(step, 0), inputOf(step, 1)];
  const [rows, width] = table.shape;
  if (node.attributes.axis !== 0 || table.shape.length !== 2 || typeof rows !== 'number' || typeof width !== 'number') {
    const problem = `${node.name} is no gather of rows from a matrix of known size: use gatherRows for a gradient`;
    throw new PairwiseError('INVALID_ARGUMENT', problem);
  }
  const flat = product(index.shape);
  const zeros = expand(g, scalar(g, table.dtype, 0), [rows, width]);
  return [scatterAddRows(g, zeros, reshape(g, index, [flat]), reshape(g, fullDy(step), [flat, width]))];
}

function gatherRowsRule(step: Step): readonly Value[] {
  const { g, node } = step;
  const none = node.attributes.inverseNone as readonly number[];
  const inverses = node.inputs.slice(2).map((index, at): Rows => ({ index: index!, none: none[at] === 1 }));
  if (inverses.length === 0) {
    throw new PairwiseError('INVALID_ARGUMENT', `${node.name} gathers rows without inverses: no gradient can flow`);
  }
  const dy = fullDy(step);
  return [inverses.map((inverseRows) => gatherRows(g, dy, inverseRows)).reduce((a, b) => add(g, a, b))];
}

export const rearrangeRules: Readonly<Record<string, Rule>> = {
  Reshape: (step) => [reshapeLike(step.g, fullDy(step), inputOf(step))],
  Transpose: (step) => [transpose(step.g, fullDy(step), inverse(step.node.attributes.perm as readonly number[]))],
  Concat: concatRule,
  Split: splitRule,
  Expand: (step) => [sumTo(step.g, smallDy(step), inputOf(step), resultOf(step))],
  Unsqueeze: (step) => [squeeze(step.g, fullDy(step), constantNumbers(step, 1))],
  Squeeze: (step) => [unsqueeze(step.g, fullDy(step), constantNumbers(step, 1))],
  Gather: gatherRule,
  GatherRows: gatherRowsRule,
};
