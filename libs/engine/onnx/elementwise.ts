import { PairwiseError } from '@pairwise/errors';
import type { GraphBuilder, Value } from './graph.ts';
import type { Dtype } from './dtypes.ts';
import { broadcast } from './dims.ts';
import { dtypes } from './dtypes.ts';

/** A value, or a number that becomes a scalar constant of the other operand's dtype. */
export type Operand = Value | number;

/** A rank-0 constant. */
export function scalar(g: GraphBuilder, dtype: Dtype, number: number): Value {
  if (dtype === 'float16' || dtype === 'bfloat16') return cast(g, g.constant('float32', [], [number]), dtype);
  return g.constant(dtype, [], [number]);
}

function operands(g: GraphBuilder, op: string, a: Operand, b: Operand): [Value, Value] {
  if (typeof a === 'number' && typeof b === 'number') throw new TypeError(`${op} of two numbers`);
  const left = typeof a === 'number' ? scalar(g, (b as Value).dtype, a) : a;
  const right = typeof b === 'number' ? scalar(g, left.dtype, b) : b;
  if (left.dtype !== right.dtype) {
    throw new PairwiseError(
      'INVALID_ARGUMENT',
      `${op} of ${left.name} (${left.dtype}) and ${right.name} (${right.dtype})`,
    );
  }
  return [left, right];
}

function binary(op: string) {
  return (g: GraphBuilder, a: Operand, b: Operand): Value => {
    const [left, right] = operands(g, op, a, b);
    const shape = broadcast(left.shape, right.shape);
    return g.node(op, [left, right], {}, [{ dtype: left.dtype, shape }])[0]!;
  };
}

function comparison(op: string) {
  return (g: GraphBuilder, a: Operand, b: Operand): Value => {
    const [left, right] = operands(g, op, a, b);
    return g.node(op, [left, right], {}, [{ dtype: 'bool', shape: broadcast(left.shape, right.shape) }])[0]!;
  };
}

function unary(op: string) {
  return (g: GraphBuilder, x: Value): Value => g.node(op, [x], {}, [{ dtype: x.dtype, shape: x.shape }])[0]!;
}

/** Element-wise operators broadcast as numpy's do. */
export const add = binary('Add');
export const sub = binary('Sub');
export const mul = binary('Mul');
export const div = binary('Div');
/** The larger of two. */
export const max = binary('Max');

export const equal = comparison('Equal');
export const less = comparison('Less');
export const lessOrEqual = comparison('LessOrEqual');
/** Of booleans. */
export const and = binary('And');
export const or = binary('Or');

/** a where the boolean `condition` holds, else b. */
export function where(g: GraphBuilder, condition: Value, a: Operand, b: Operand): Value {
  const [left, right] = operands(g, 'Where', a, b);
  const shape = broadcast(condition.shape, broadcast(left.shape, right.shape));
  return g.node('Where', [condition, left, right], {}, [{ dtype: left.dtype, shape }])[0]!;
}

export const neg = unary('Neg');
export const sqrt = unary('Sqrt');
export const reciprocal = unary('Reciprocal');
export const exp = unary('Exp');
export const log = unary('Log');
export const sigmoid = unary('Sigmoid');
export const tanh = unary('Tanh');
/** log(1 + exp(x)), finite for any x. */
export const softplus = unary('Softplus');

/** x, but no gradient flows back through it. */
export const stopGradient = unary('StopGradient');

/** The same numbers in another type; x itself if it already has that type. */
export function cast(g: GraphBuilder, x: Value, to: Dtype): Value {
  if (x.dtype === to) return x;
  return g.node('Cast', [x], { to: dtypes[to].code }, [{ dtype: to, shape: x.shape }])[0]!;
}
