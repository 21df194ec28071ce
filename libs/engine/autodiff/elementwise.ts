import { cast, div, greater, less, mul, neg, pow, sigmoid, sub, where } from '@pairwise/onnx';
import type { Operand, Value } from '@pairwise/onnx';
import { PairwiseError } from '@pairwise/errors';
import type { Rule, Step } from './step.ts';
import { inputOf, resultOf, smallDy, sumTo } from './step.ts';

/** Rule of y = f(a, b) with broadcasting, from the gradients of f with respect to each operand. */
function binary(left: (step: Step, dy: Value) => Value, right: (step: Step, dy: Value) => Value): Rule {
  return (step) =>
    [left, right].map((gradient, index) => {
      if (!step.wants(index)) return undefined;
      return sumTo(step.g, gradient(step, smallDy(step)), inputOf(step, index), resultOf(step));
    });
}

/** Rule of y = f(x), from f's derivative times dy. */
function unary(gradient: (step: Step, dy: Value, x: Value, y: Value) => Value): Rule {
  return (step) => [gradient(step, smallDy(step), inputOf(step), resultOf(step))];
}

/** dy where the operands compare so, else nothing. */
function pick(comparison: typeof less, yes: Operand | 'dy', no: Operand | 'dy') {
  return (step: Step, dy: Value) => {
    const condition = comparison(step.g, inputOf(step, 0), inputOf(step, 1));
    return where(step.g, condition, yes === 'dy' ? dy : yes, no === 'dy' ? dy : no);
  };
}

/** x to a constant power p: p * x^(p-1). */
function powerRule({ g, node, wants }: Step, dy: Value, x: Value): Value {
  const data = g.constantData(node.inputs[1]!);
  if (wants(1) || data?.length !== 1) {
    throw new PairwiseError('INVALID_ARGUMENT', `Pow has a gradient for constant scalar exponents only (${node.name})`);
  }
  const power = Number(data[0]);
  if (power === 2) return mul(g, mul(g, dy, 2), x);
  return mul(g, mul(g, dy, power), pow(g, x, power - 1));
}

export const elementwiseRules: Readonly<Record<string, Rule>> = {
  Add: binary(
    (_, dy) => dy,
    (_, dy) => dy,
  ),
  Sub: binary(
    (_, dy) => dy,
    ({ g }, dy) => neg(g, dy),
  ),
  Mul: binary(
    (step, dy) => mul(step.g, dy, inputOf(step, 1)),
    (step, dy) => mul(step.g, dy, inputOf(step, 0)),
  ),
  Div: binary(
    (step, dy) => div(step.g, dy, inputOf(step, 1)),
    (step, dy) => neg(step.g, div(step.g, mul(step.g, dy, resultOf(step)), inputOf(step, 1))),
  ),
  // Where the operands are equal, all of the gradient goes to the second.
  Max: binary(pick(greater, 'dy', 0), pick(greater, 0, 'dy')),
  Min: binary(pick(less, 'dy', 0), pick(less, 0, 'dy')),
  Pow: unary(powerRule),
  Neg: unary(({ g }, dy) => neg(g, dy)),
  Abs: unary(({ g }, dy, x) => where(g, less(g, x, 0), neg(g, dy), dy)),
  Sqrt: unary(({ g }, dy, _, y) => div(g, mul(g, dy, 0.5), y)),
  Reciprocal: unary(({ g }, dy, _, y) => neg(g, mul(g, dy, mul(g, y, y)))),
  Exp: unary(({ g }, dy, _, y) => mul(g, dy, y)),
  Log: unary(({ g }, dy, x) => div(g, dy, x)),
  Sigmoid: unary(({ g }, dy, _, y) => mul(g, dy, sub(g, y, mul(g, y, y)))),
  Tanh: unary(({ g }, dy, _, y) => sub(g, dy, mul(g, dy, mul(g, y, y)))),
  Softplus: unary(({ g }, dy, x) => mul(g, dy, sigmoid(g, x))),
  Identity: unary((_, dy) => dy),
  Cast: unary(({ g }, dy, x) => cast(g, dy, x.dtype)),
  Where: (step) => {
    const { g } = step;
    const dy = smallDy(step);
    const condition = inputOf(step, 0);
    const branch = (index: number, yes: Operand, no: Operand) =>
      step.wants(index) ? sumTo(g, where(g, condition, yes, no), inputOf(step, index), resultOf(step)) : undefined;
    return [undefined, branch(1, dy, 0), branch(2, 0, dy)];
  },
};
