import { ops, product } from '@pairwise/onnx';
import type { Value } from '@pairwise/onnx';
import { reshapeLike } from './movementRules.ts';
import type { Rule, VjpContext } from './vjpContext.ts';
import { fullDy, inputOf, outputOf, smallDy, sumTo } from './vjpContext.ts';

/** Y = A B over the last two axes: dA = dY B^T and dB = A^T dY, summed over the axes that were broadcast. */
export const matMulRule: Rule = (context) => {
  const { g, wants } = context;
  const { gemm, matMul } = ops(g);
  const [a, b] = [inputOf(context, 0), inputOf(context, 1)];
  const dy = fullDy(context);
  if (b.shape.length === 2) {
    // One matrix for all rows: Gemms need neither a transposed copy nor a sum over a batch of products.
    return [
      wants(0) ? reshapeLike(g, gemm(asMatrix(context, dy), b, { transB: true }), a) : undefined,
      wants(1) ? gemm(asMatrix(context, a), asMatrix(context, dy), { transA: true }) : undefined,
    ];
  }
  return [
    wants(0) ? sumProduct(context, matMul(dy, swapLastAxes(context, b)), a) : undefined,
    wants(1) ? sumProduct(context, matMul(swapLastAxes(context, a), dy), b) : undefined,
  ];
};

/** Y = alpha A' B' + C, where ' is an optional transpose: dA and dB are Gemms of A and B as they are stored. */
export const gemmRule: Rule = (context) => {
  const { g, node, wants } = context;
  const { gemm } = ops(g);
  const [a, b, bias] = [inputOf(context, 0), inputOf(context, 1), node.inputs[2]];
  const dy = fullDy(context);
  const transA = node.attributes.transA === 1;
  const transB = node.attributes.transB === 1;
  const { float: alpha } = node.attributes.alpha as { float: number };
  const da = () =>
    transA ? gemm(b, dy, { transA: transB, transB: true, alpha }) : gemm(dy, b, { transB: !transB, alpha });
  const db = () =>
    transB ? gemm(dy, a, { transA: true, transB: transA, alpha }) : gemm(a, dy, { transA: !transA, alpha });
  return [
    wants(0) ? da() : undefined,
    wants(1) ? db() : undefined,
    bias && wants(2) ? sumTo(g, smallDy(context), bias, outputOf(context)) : undefined,
  ];
};

function sumProduct({ g }: VjpContext, gradient: Value, operand: Value): Value {
  return sumTo(g, gradient, operand, gradient);
}

function swapLastAxes({ g }: VjpContext, x: Value): Value {
  const axes = x.shape.map((_, axis) => axis);
  return ops(g).transpose(x, [...axes.slice(0, -2), axes.length - 1, axes.length - 2]);
}

/** All rows of x as one matrix. */
function asMatrix({ g }: VjpContext, x: Value): Value {
  return ops(g).reshape(x, [product(x.shape.slice(0, -1)), x.shape.at(-1)!]);
}
