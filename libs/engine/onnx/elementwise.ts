import { PairwiseError } from '@pairwise/errors';
import type { Attribute, GraphBuilder, Value } from './graph.ts';
import type { Dtype } from './dtypes.ts';
import { broadcast } from './dims.ts';
import { dtypes } from './dtypes.ts';

/** A value, or a number that becomes a scalar constant of the other operand's type. */
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

function binary(op: string, result?: Dtype, attributes: Record<string, Attribute> = {}) {
  return (g: GraphBuilder, a: Operand, b: Operand): Value => {
    const [left, right] = operands(g, op, a, b);
    const shape = broadcast(left.shape, right.shape);
    return g.node(op, [left, right], attributes, [{ dtype: result ?? left.dtype, shape }])[0]!;
  };
}

function unary(op: string, result?: Dtype) {
  return (g: GraphBuilder, x: Value): Value => g.node(op, [x], {}, [{ dtype: result ?? x.dtype, shape: x.shape }])[0]!;
}

/** Element-wise with numpy's broadcasting. */
export const add = binary('Add');
export const sub = binary('Sub');
export const mul = binary('Mul');
export const div = binary('Div');
export const pow = binary('Pow');
export const max = binary('Max');
export const min = binary('Min');

export const equal = binary('Equal', 'bool');
export const less = binary('Less', 'bool');
export const greater = binary('Greater', 'bool');
export const and = binary('And', 'bool');
export const or = binary('Or', 'bool');
export const not = unary('Not', 'bool');

export const neg = unary('Neg');
export const abs = unary('Abs');
export const sqrt = unary('Sqrt');
export const reciprocal = unary('Reciprocal');
export const exp = unary('Exp');
export const log = unary('Log');
export const sigmoid = unary('Sigmoid');
export const tanh = unary('Tanh');
/** log(1 + exp(x)), finite for any x. */
export const softplus = unary('Softplus');

/** A copy: rarely needed, for a barrier or a name. */
export const identity = unary('Identity');

/** x itself in the forward pass; no gradient flows through. */
export const stopGradient = unary('StopGradient');

/** Unsigned integers, shifted by `bits`. */
export const shiftLeft = binary('BitShift', undefined, { direction: { text: 'LEFT' } });
export const shiftRight = binary('BitShift', undefined, { direction: { text: 'RIGHT' } });
export const bitwiseAnd = binary('BitwiseAnd');

/** The same numbers in another type; x itself where it has that type already. */
export function cast(g: GraphBuilder, x: Value, to: Dtype): Value {
  if (x.dtype === to) return x;
  return g.node('Cast', [x], { to: dtypes[to].code }, [{ dtype: to, shape: x.shape }])[0]!;
}

/** The same bits read as another type of the same width (operator set 26). */
export function bitCast(g: GraphBuilder, x: Value, to: Dtype): Value {
  return g.node('BitCast', [x], { to: dtypes[to].code }, [{ dtype: to, shape: x.shape }])[0]!;
}

/** `yes` where the condition (bool) holds, else `no`; all three broadcast. */
export function where(g: GraphBuilder, condition: Value, yes: Operand, no: Operand): Value {
  const [left, right] = operands(g, 'Where', yes, no);
  const shape = broadcast(condition.shape, broadcast(left.shape, right.shape));
  return g.node('Where', [condition, left, right], {}, [{ dtype: left.dtype, shape }])[0]!;
}
