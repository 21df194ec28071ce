import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { openSession } from '@pairwise/ort';
import type { Tensor } from '@pairwise/ort';
import { encodeModel, graphBuilder, ops, type Graph } from './index.ts';
import { addDims, broadcast, product } from './dims.ts';

test('named sizes multiply and add', () => {
  expect(product([9, 'T', 64])).toBe(product(['T', 576]));
  expect(product(['9*T', 'P', 2])).toBe('18*P*T');
  expect(product(['(T*2+1)', 3])).toBe('3*(T*2+1)');
  expect(product([])).toBe(1);
  expect(addDims('P', 1)).toBe('(P+1)');
  expect(addDims(2, 3)).toBe(5);
});

test('shapes broadcast as in numpy; a name broadcasts only with itself and 1', () => {
  expect(broadcast(['T', 1, 3], [4, 1])).toEqual(['T', 4, 3]);
  expect(broadcast([], ['T'])).toEqual(['T']);
  expect(() => broadcast(['T'], ['P'])).toThrow(/\[T\] and \[P\]/);
  expect(() => broadcast([3], ['P'])).toThrow();
});

describe('the builder', () => {
  const setting = () => {
    const g = graphBuilder('test');
    return { g, x: g.input('x', 'float32', ['T', 6]) };
  };

  test('names the sizes that do not fit', () => {
    const { g, x } = setting();
    const { add, concat, gather, matMul, reshape, split, transpose } = ops(g);
    expect(() => matMul(x, x)).toThrow(/sums over 6 and T/);
    expect(() => reshape(x, ['T', 4])).toThrow(/does not have the elements/);
    expect(() => transpose(x, [0, 0])).toThrow(/not a permutation of the axes/);
    expect(() => split(x, 1, [2, 2])).toThrow(/2\+2/);
    expect(() => concat([x, g.input('y', 'float32', ['P', 5])], 0)).toThrow(/Concat/);
    expect(() => add(x, g.input('z', 'float64', ['T', 6]))).toThrow(/float32.*float64/);
    expect(() => gather(x, x)).toThrow(/int32 or int64/);
  });

  test('refuses a name that is already in use', () => {
    const { g, x } = setting();
    expect(() => g.input('x', 'float32', [])).toThrow(/two values named x/);
    expect(() => g.output('x', x)).toThrow(/two values named x/);
  });

  test('stores equal constants and equal nodes once', () => {
    const { g, x } = setting();
    const { mul, softmax } = ops(g);
    expect(mul(x, 2)).toBe(mul(x, 2));
    expect(mul(x, 0)).not.toBe(mul(x, -0));
    expect(softmax(x, 0)).not.toBe(softmax(x, 1));
  });

  test('leaves out operators that do nothing', () => {
    const { g, x } = setting();
    const { cast, expand, reshape, transpose } = ops(g);
    for (const same of [
      reshape(x, ['T', 6]),
      transpose(x, [0, 1]),
      transpose(transpose(x, [1, 0]), [1, 0]),
      cast(x, 'float32'),
      expand(x, ['T', 6]),
    ]) {
      expect(same).toBe(x);
    }
  });
});

const x: Tensor = { dtype: 'float32', dims: [2, 6], data: Float32Array.from({ length: 12 }, (_, index) => index) };
async function run(graph: Graph, feeds: Record<string, Tensor>): Promise<Record<string, number[]>> {
  const session = await openSession({ graph, threads: 1 });
  const results = await session.run(feeds);
  await session.close();
  return Object.fromEntries(
    Object.entries(results).map(([name, { data }]) => [name, Array.from(data as Float32Array)]),
  );
}

test('an output may be an input, a value with two names, or a value behind stopGradient', async () => {
  const g = graphBuilder('outputs');
  const { add, mul, stopGradient } = ops(g);
  const input = g.input('x', 'float32', ['T', 6]);
  const y = mul(input, 2);
  g.output('same', input);
  g.output('y', y);
  g.output('again', y);
  g.output('stopped', stopGradient(y));
  g.output('used', add(stopGradient(y), 1));
  const results = await run(g.finish(), { x });
  const twice = [...(x.data as Float32Array)].map((value) => 2 * value);
  expect(results).toEqual({
    same: [...(x.data as Float32Array)],
    y: twice,
    again: twice,
    stopped: twice,
    used: twice.map((v) => v + 1),
  });
});

test('a loop carries state that may grow, and uses values of the graph around it, outputs included', async () => {
  const g = graphBuilder('loop');
  const { add, loop, mul, reshape, sub } = ops(g);
  const input = g.input('x', 'float32', ['T', 6]);
  const y = mul(input, 2);
  g.output('twice', y);
  const sum = { initial: sub(y, y) };
  const list = { initial: g.constant('float32', [0], []), within: ['done'], after: ['M'] };
  const [total, indexes] = loop(g.input('count', 'int64', [1]), [sum, list], (inner, index, [soFar, before]) => {
    const o = ops(inner);
    const next = o.concat([before!, o.reshape(o.cast(index, 'float32'), [1])], 0);
    return [o.add(o.mul(soFar!, 1), y), next];
  });
  g.output('total', add(total!, 1));
  g.output('indexes', reshape(indexes!, ['M']));
  const count: Tensor = { dtype: 'int64', dims: [1], data: BigInt64Array.of(3n) };
  expect(await run(g.finish(), { x, count })).toEqual({
    twice: [...(x.data as Float32Array)].map((value) => 2 * value),
    total: [...(x.data as Float32Array)].map((value) => 6 * value + 1),
    indexes: [0, 1, 2],
  });
});

test('rows are gathered over all leading axes, and -1 reads zeros', async () => {
  const g = graphBuilder('rows');
  const { gatherRows, reshape } = ops(g);
  const rows = reshape(g.input('x', 'float32', ['T', 6]), ['T', 3, 2]);
  const index = g.input('index', 'int32', ['P', 'L']);
  const picked = gatherRows(rows, { index, none: true });
  expect(picked.shape).toEqual(['P', 'L', 2]);
  g.output('picked', picked);
  g.output('plain', gatherRows(rows, { index: g.input('plain_index', 'int64', ['K']), none: false }));
  const feeds: Record<string, Tensor> = {
    x,
    index: { dtype: 'int32', dims: [2, 2], data: Int32Array.of(0, 1, -1, 5) },
    plain_index: { dtype: 'int64', dims: [1], data: BigInt64Array.of(3n) },
  };
  expect(await run(g.finish(), feeds)).toEqual({ picked: [0, 1, 2, 3, 0, 0, 10, 11], plain: [6, 7] });
});

test('the same graph gives the same bytes, even with 7,000 nodes', () => {
  const build = () => {
    const g = graphBuilder('long');
    const { add } = ops(g);
    let value = g.input('x', 'float32', ['T', 4]);
    for (let index = 0; index < 7000; index++) value = add(value, index % 50);
    g.output('y', value);
    return encodeModel(g.finish());
  };
  expect(Buffer.from(build()).equals(Buffer.from(build()))).toBe(true);
});

test('a graph has the same bytes as in earlier versions, with zero, empty and absent values as they are', () => {
  const g = graphBuilder('');
  const x = g.input('x', 'float32', ['T', 0, 3]);
  g.input('scalar', 'int64', []);
  const constants = [
    g.constant('float32', [0], []),
    g.constant('float32', [2], [-0, 1e38]),
    g.constant('int64', [2], [0n, -5n]),
    g.constant('bool', [2], [0, 1]),
  ];
  const attributes = {
    zero: 0,
    minus: -1,
    large: 2 ** 40,
    none: [],
    list: [0, -1, 7],
    zeroFloat: { float: 0 },
    float: { float: 0.1 },
    empty: { text: '' },
    text: { text: 'ä tanh' },
  };
  const types = [
    { dtype: 'bfloat16', shape: [0, 'P*2'] },
    { dtype: 'float32', shape: [] },
  ] as const;
  g.node('Any', [x, undefined, ...constants], attributes, types).forEach((value, i) => g.output(`y${i}`, value));
  g.external('w', 'bfloat16', [0, 3], { location: '', offset: 0, length: 0 });
  const bytes = encodeModel(g.finish());
  expect(createHash('sha256').update(bytes).digest('hex')).toBe(
    '43c0f084a3a85da331c30755479d1ae35879712f74ea22fdbaa7eeb19ad85f46',
  );
});
