import { expect, test } from 'vitest';
import { graphBuilder, ops, peakBytes } from './index.ts';
import { evaluate } from './dims.ts';

const sizes = (name: string) => ({ T: 10, done: 10, C: 4 })[name];
const rowBytes = 10 * 4;

test('sizes with products and sums become numbers; an unknown name is an error', () => {
  expect(evaluate('3*(T+2*C)', sizes)).toBe(54);
  expect(evaluate('(3*C+1)', sizes)).toBe(13);
  expect(() => evaluate('3*unknown', sizes)).toThrow('the size unknown is unknown');
});

test('values count from the node that computes them to the last one that reads them', () => {
  const g = graphBuilder('chain');
  const { concat, reduceSum, transpose } = ops(g);
  const x = g.input('x', 'float32', ['T', 8]);
  const wide = concat([x, x, x], 1); // [T, 24]
  const turned = transpose(wide, [1, 0]); // [24, T]
  g.output('sum', reduceSum(turned, [0], { keepDims: false })); // [T]
  // Two of 24 columns; the sum needs only one of them.
  expect(peakBytes(g.finish(), sizes)).toBe(2 * 24 * rowBytes);
});

test('an output is written over an input that nothing reads later', () => {
  const h = graphBuilder('overwritten');
  const o = ops(h);
  const y = h.input('y', 'float32', ['T', 8]);
  const squared = o.mul(o.transpose(o.concat([y, y, y], 1), [1, 0]), 2);
  h.output('sum', o.reduceSum(o.reshape(squared, [3, 8, 'T']), [0], { keepDims: false })); // [8, T]
  expect(peakBytes(h.finish(), sizes)).toBe(2 * 24 * rowBytes);

  const both = graphBuilder('kept');
  const { add, exp } = ops(both);
  const z = both.input('z', 'float32', ['T', 8]);
  const first = exp(z);
  both.output('first', first);
  both.output('second', add(exp(first), first));
  expect(peakBytes(both.finish(), sizes)).toBe(2 * 8 * rowBytes);
});

test('a loop takes its outputs, the state of the last iteration, and what that iteration computes', () => {
  const g = graphBuilder('loop');
  const { loop, sizeOf } = ops(g);
  const x = g.input('x', 'float32', ['T', 8]);
  const empty = g.constant('float32', [0, 8], []);
  const states = [{ initial: empty, within: ['done', 8], after: ['T', 8] }];
  const [all] = loop(sizeOf(x, 0), states, (inner, _index, [done]) => {
    const { concat, exp } = ops(inner);
    const chunk = exp(inner.constant('float32', [4, 8], new Array<number>(32).fill(1)));
    return [concat([done!, chunk], 0)]; // [done + C, 8]
  });
  g.output('all', all!);
  // The state, the chunk and the state after it; names and counters are a few bytes.
  const expected = 8 * (rowBytes + 4 * 4 + rowBytes + 4 * 4);
  expect(Math.abs(peakBytes(g.finish(), sizes) - expected)).toBeLessThan(200);
});
