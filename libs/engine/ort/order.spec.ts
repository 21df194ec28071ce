import { add, exp, graphBuilder, mul, neg, reduceSum } from '@pairwise/onnx';
import { expect, test } from 'vitest';
import { endsLast } from './order.ts';

test('ends of a graph come last, the one that is ready first at the very end; everything else keeps its order', () => {
  const g = graphBuilder('ends');
  const x = g.input('x', 'float32', ['T']);
  const first = exp(g, x);
  const late = reduceSum(g, mul(g, add(g, first, x), first), [0]);
  const early = neg(g, x);
  const middle = neg(g, first);
  for (const value of [early, late, middle]) g.output(`out_${value.name}`, value);
  const { nodes } = endsLast(g.finish());
  expect(nodes.map(({ name }) => name)).toEqual(['Exp_0', 'Add_1', 'Mul_2', late.name, middle.name, early.name]);
});
