import { cast, div, mul, neg, sigmoid, sub } from '@pairwise/onnx';
import type { Value } from '@pairwise/onnx';
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
  Neg: unary(({ g }, dy) => neg(g, dy)),
  Sqrt: unary(({ g }, dy, _, y) => div(g, mul(g, dy, 0.5), y)),
  Reciprocal: unary(({ g }, dy, _, y) => neg(g, mul(g, dy, mul(g, y, y)))),
  Exp: unary(({ g }, dy, _, y) => mul(g, dy, y)),
  Log: unary(({ g }, dy, x) => div(g, dy, x)),
  Sigmoid: unary(({ g }, dy, _, y) => mul(g, dy, sub(g, y, mul(g, y, y)))),
  Softplus: unary(({ g }, dy, x) => mul(g, dy, sigmoid(g, x))),
  Cast: unary(({ g }, dy, x) => cast(g, dy, x.dtype)),
};
