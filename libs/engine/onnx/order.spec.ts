import { graphBuilder, ops } from './index.ts';
import { expect, test } from 'vitest';
import { endsLast } from './order.ts';

test('final nodes come last, and of those the first to be ready comes at the very end; all others keep their order', () => {
  const g = graphBuilder('ends');
  const { add, exp, mul, neg, reduceSum } = ops(g);
  const x = g.input('x', 'float32', ['T']);
  const first = exp(x);
  const late = reduceSum(mul(add(first, x), first), [0]);
  const early = neg(x);
  const middle = neg(first);
  for (const value of [early, late, middle]) g.output(`out_${value.name}`, value);
  const { nodes } = endsLast(g.finish());
  expect(nodes.map(({ name }) => name)).toEqual(['Exp_0', 'Add_1', 'Mul_2', late.name, middle.name, early.name]);
});
