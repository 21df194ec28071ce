import { ops } from '@pairwise/onnx';
import type { GraphBuilder, Node, Value } from '@pairwise/onnx';
import { PairwiseError } from '@pairwise/errors';
import { concatRule, gatherRowsRule, gatherRule, reshapeLike, splitRule } from './movementRules.ts';
import { gemmRule, matMulRule } from './productRules.ts';
import { targetLogpsRule } from './targetLogpsRule.ts';
import { constantNumbers, fullDy, inputOf, outputOf, smallDy, sumTo } from './vjpContext.ts';
import type { Rule, VjpContext } from './vjpContext.ts';

/** What the equation of y = f(x) may refer to. */
interface Unary {
  readonly dy: Value;
  readonly x: Value;
  readonly y: Value;
  readonly node: Node;
  readonly context: VjpContext;
}

/** What the equations of y = f(a, b) may refer to. */
interface Binary {
  readonly dy: Value;
  readonly a: Value;
  readonly b: Value;
  readonly y: Value;
}

/** Every operator through which gradients flow. Operators with integer outputs and StopGradient need no rule. */
export function gradientRules(g: GraphBuilder): Readonly<Record<string, Rule>> {
  const { cast, div, mul, neg, packedAttentionGradient, reduceSum, sigmoid, squeeze, sub, transpose, unsqueeze } =
    ops(g);
  return {
    // y = f(a, b), element-wise with broadcasting: da and db.
    Add: binary(
      ({ dy }) => dy,
      ({ dy }) => dy,
    ),
    Sub: binary(
      ({ dy }) => dy,
      ({ dy }) => neg(dy),
    ),
    Mul: binary(
      ({ dy, b }) => mul(dy, b),
      ({ dy, a }) => mul(dy, a),
    ),
    Div: binary(
      ({ dy, b }) => div(dy, b),
      ({ dy, b, y }) => neg(div(mul(dy, y), b)),
    ),

    // y = f(x), element-wise: dx.
    Neg: unary(({ dy }) => neg(dy)),
    Sqrt: unary(({ dy, y }) => div(mul(dy, 0.5), y)),
    Reciprocal: unary(({ dy, y }) => neg(mul(dy, mul(y, y)))),
    Exp: unary(({ dy, y }) => mul(dy, y)),
    Log: unary(({ dy, x }) => div(dy, x)),
    Sigmoid: unary(({ dy, y }) => mul(dy, sub(y, mul(y, y)))),
    Tanh: unary(({ dy, y }) => mul(dy, sub(1, mul(y, y)))),
    Softplus: unary(({ dy, x }) => mul(dy, sigmoid(x))),
    Cast: unary(({ dy, x }) => cast(dy, x.dtype)),

    // Products: dA = dY B^T, dB = A^T dY.
    MatMul: matMulRule,
    Gemm: gemmRule,

    // y = softmax(q k^T) v: one operator computes dq, dk and dv.
    PackedAttention: (context) => packedAttentionGradient(context.node, fullDy(context)),
    TargetLogps: targetLogpsRule,

    // Reductions over some axes: every element that was summed has the same gradient.
    ReduceSum: (context) => [restoreAxes(context)],
    ReduceMean: (context) => [mul(restoreAxes(context), 1 / meanCount(context))],
    // dx = y dy - y sum(y dy)
    Softmax: unary(({ dy, y, node }) => {
      const weighted = mul(y, dy);
      return sub(weighted, mul(y, reduceSum(weighted, [node.attributes.axis as number])));
    }),

    // Movements: dx moves dy back.
    Reshape: whole(({ dy, x }) => reshapeLike(g, dy, x)),
    Transpose: whole(({ dy, node }) => transpose(dy, inverse(node.attributes.perm as readonly number[]))),
    Expand: unary(({ dy, x, y }) => sumTo(g, dy, x, y)),
    Unsqueeze: whole(({ dy, context }) => squeeze(dy, constantNumbers(context, 1))),
    Squeeze: whole(({ dy, context }) => unsqueeze(dy, constantNumbers(context, 1))),
    Concat: concatRule,
    Split: splitRule,
    Gather: gatherRule,
    GatherRows: gatherRowsRule,
  };
}

function binary(da: (values: Binary) => Value, db: (values: Binary) => Value): Rule {
  return (context) => {
    const [a, b, y] = [inputOf(context, 0), inputOf(context, 1), outputOf(context)];
    const values = { dy: smallDy(context), a, b, y };
    return [
      context.wants(0) ? sumTo(context.g, da(values), a, y) : undefined,
      context.wants(1) ? sumTo(context.g, db(values), b, y) : undefined,
    ];
  };
}

/** Element-wise: dy may stay smaller than y. */
function unary(dx: (values: Unary) => Value): Rule {
  return (context) => [dx(valuesOf(context, smallDy(context)))];
}

/** For equations that need dy in the full shape of y. */
function whole(dx: (values: Unary) => Value): Rule {
  return (context) => [dx(valuesOf(context, fullDy(context)))];
}

function valuesOf(context: VjpContext, dy: Value): Unary {
  return { dy, x: inputOf(context), y: outputOf(context), node: context.node, context };
}

/** dy with the reduced axes back, of size 1. */
function restoreAxes(context: VjpContext): Value {
  if (context.node.attributes.keepdims === 1) return smallDy(context);
  return ops(context.g).unsqueeze(fullDy(context), constantNumbers(context, 1));
}

/** How many elements each mean is taken over. */
function meanCount(context: VjpContext): number {
  const { shape } = inputOf(context);
  const count = constantNumbers(context, 1).reduce((product, axis) => product * Number(shape[axis]), 1);
  if (!Number.isNaN(count)) return count;
  const problem = `${context.node.name} averages over an axis of unknown size: divide a ReduceSum by a fed count instead`;
  throw new PairwiseError('INVALID_ARGUMENT', problem);
}

function inverse(perm: readonly number[]): number[] {
  return perm.map((_, axis) => perm.indexOf(axis));
}
