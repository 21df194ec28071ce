import { gemm, matMul, product, reshape, reshapeBy, reshapeSizes, shapeOf, transpose } from '@pairwise/onnx';
import type { GraphBuilder, Value } from '@pairwise/onnx';
import type { Rule, Step } from './step.ts';
import { fullDy, inputOf, resultOf, smallDy, sumTo } from './step.ts';

/** x in the shape of `like`; only a shape that constants cannot say costs a Shape node. */
export function reshapeLike(g: GraphBuilder, x: Value, like: Value): Value {
  if (reshapeSizes(x.shape, like.shape)) return reshape(g, x, like.shape);
  return reshapeBy(g, x, shapeOf(g, like), like.shape);
}

function swapLast(g: GraphBuilder, x: Value): Value {
  const axes = x.shape.map((_, axis) => axis);
  return transpose(g, x, [...axes.slice(0, -2), axes.length - 1, axes.length - 2]);
}

/** All rows of x as one matrix. */
function asMatrix(g: GraphBuilder, x: Value): Value {
  return reshape(g, x, [product(x.shape.slice(0, -1)), x.shape.at(-1)!]);
}

/** Y = A B over the last two axes: dA = dY B^T, dB = A^T dY, summed over axes that were broadcast. */
function matMulRule(step: Step): readonly (Value | undefined)[] {
  const { g, wants } = step;
  const [a, b] = [inputOf(step, 0), inputOf(step, 1)];
  const dy = fullDy(step);
  // One matrix for all rows: as Gemms, without a transposed copy and without a sum over a batch of products.
  if (b.shape.length === 2) {
    return [
      wants(0) ? reshapeLike(g, gemm(g, asMatrix(g, dy), b, { transB: true }), a) : undefined,
      wants(1) ? gemm(g, asMatrix(g, a), asMatrix(g, dy), { transA: true }) : undefined,
    ];
  }
  const summed = (gradient: Value, operand: Value) => sumTo(g, gradient, operand, gradient);
  return [
    wants(0) ? summed(matMul(g, dy, swapLast(g, b)), a) : undefined,
    wants(1) ? summed(matMul(g, swapLast(g, a), dy), b) : undefined,
  ];
}

/** Y = alpha A' B' + C, where ' is an optional transpose: again Gemms on A and B as they lie in memory. */
function gemmRule(step: Step): readonly (Value | undefined)[] {
  const { g, node, wants } = step;
  const [a, b, bias] = [inputOf(step, 0), inputOf(step, 1), node.inputs[2]];
  const dy = fullDy(step);
  const transA = node.attributes.transA === 1;
  const transB = node.attributes.transB === 1;
  const { float: alpha } = node.attributes.alpha as { float: number };
  const left = () =>
    transA ? gemm(g, b, dy, { transA: transB, transB: true, alpha }) : gemm(g, dy, b, { transB: !transB, alpha });
  const right = () =>
    transB ? gemm(g, dy, a, { transA: true, transB: transA, alpha }) : gemm(g, a, dy, { transA: !transA, alpha });
  return [
    wants(0) ? left() : undefined,
    wants(1) ? right() : undefined,
    bias && wants(2) ? sumTo(g, smallDy(step), bias, resultOf(step)) : undefined,
  ];
}

export const linearRules: Readonly<Record<string, Rule>> = { MatMul: matMulRule, Gemm: gemmRule };
