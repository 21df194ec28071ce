import { describe, expect, test } from 'vitest';
import { openSession } from '@pairwise/ort';
import type { Tensor } from '@pairwise/ort';
import * as onnx from './index.ts';
import { broadcast, product, sum } from './dims.ts';

test('sizes multiply and add by name', () => {
  expect(product([9, 'T', 64])).toBe(product(['T', 576]));
  expect(product(['9*T', 'P', 2])).toBe('18*P*T');
  expect(product(['(T*2+1)', 3])).toBe('3*(T*2+1)');
  expect(product([])).toBe(1);
  expect(sum('P', 1)).toBe('(P+1)');
  expect(sum(2, 3)).toBe(5);
});

test('shapes broadcast as in numpy; names only with themselves and 1', () => {
  expect(broadcast(['T', 1, 3], [4, 1])).toEqual(['T', 4, 3]);
  expect(broadcast([], ['T'])).toEqual(['T']);
  expect(() => broadcast(['T'], ['P'])).toThrow(/\[T\] and \[P\]/);
  expect(() => broadcast([3], ['P'])).toThrow();
});

describe('the builder', () => {
  const setting = () => {
    const g = onnx.graphBuilder('test');
    return { g, x: g.input('x', 'float32', ['T', 6]) };
  };

  test('says which sizes do not fit', () => {
    const { g, x } = setting();
    expect(() => onnx.matMul(g, x, x)).toThrow(/sums over 6 and T/);
    expect(() => onnx.reshape(g, x, ['T', 4])).toThrow(/has not the elements/);
    expect(() => onnx.transpose(g, x, [0, 0])).toThrow(/no order of the axes/);
    expect(() => onnx.split(g, x, 1, [2, 2])).toThrow(/2\+2/);
    expect(() => onnx.concat(g, [x, g.input('y', 'float32', ['P', 5])], 0)).toThrow(/Concat/);
    expect(() => onnx.add(g, x, g.input('z', 'float64', ['T', 6]))).toThrow(/float32.*float64/);
    expect(() => onnx.gather(g, x, x)).toThrow(/int32 or int64/);
  });

  test('refuses a name that is taken', () => {
    const { g, x } = setting();
    expect(() => g.input('x', 'float32', [])).toThrow(/two values named x/);
    expect(() => g.output('x', x)).toThrow(/two values named x/);
  });

  test('stores equal constants and equal nodes once', () => {
    const { g, x } = setting();
    expect(onnx.mul(g, x, 2)).toBe(onnx.mul(g, x, 2));
    expect(onnx.mul(g, x, 0)).not.toBe(onnx.mul(g, x, -0));
    expect(onnx.softmax(g, x, 0)).not.toBe(onnx.softmax(g, x, 1));
  });

  test('leaves out what does nothing', () => {
    const { g, x } = setting();
    for (const same of [
      onnx.reshape(g, x, ['T', 6]),
      onnx.transpose(g, x, [0, 1]),
      onnx.transpose(g, onnx.transpose(g, x, [1, 0]), [1, 0]),
      onnx.cast(g, x, 'float32'),
      onnx.expand(g, x, ['T', 6]),
    ]) {
      expect(same).toBe(x);
    }
  });
});

const x: Tensor = { dtype: 'float32', dims: [2, 6], data: Float32Array.from({ length: 12 }, (_, index) => index) };
async function run(graph: onnx.Graph, feeds: Record<string, Tensor>): Promise<Record<string, number[]>> {
  const session = await openSession({ graph, threads: 1 });
  const results = await session.run(feeds);
  await session.close();
  return Object.fromEntries(
    Object.entries(results).map(([name, { data }]) => [name, Array.from(data as Float32Array)]),
  );
}

test('outputs may be inputs, results of one value under two names, and values behind stopGradient', async () => {
  const g = onnx.graphBuilder('outputs');
  const input = g.input('x', 'float32', ['T', 6]);
  const y = onnx.mul(g, input, 2);
  g.output('same', input);
  g.output('y', y);
  g.output('again', y);
  g.output('stopped', onnx.stopGradient(g, y));
  g.output('used', onnx.add(g, onnx.stopGradient(g, y), 1));
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

test('rows are gathered over all leading axes, and -1 reads zeros', async () => {
  const g = onnx.graphBuilder('rows');
  const rows = onnx.reshape(g, g.input('x', 'float32', ['T', 6]), ['T', 3, 2]);
  const index = g.input('index', 'int32', ['P', 'L']);
  const picked = onnx.gatherRows(g, rows, { index, none: true });
  expect(picked.shape).toEqual(['P', 'L', 2]);
  g.output('picked', picked);
  g.output('plain', onnx.gatherRows(g, rows, { index: g.input('plain_index', 'int64', ['K']), none: false }));
  const feeds: Record<string, Tensor> = {
    x,
    index: { dtype: 'int32', dims: [2, 2], data: Int32Array.of(0, 1, -1, 5) },
    plain_index: { dtype: 'int64', dims: [1], data: BigInt64Array.of(3n) },
  };
  expect(await run(g.finish(), feeds)).toEqual({ picked: [0, 1, 2, 3, 0, 0, 10, 11], plain: [6, 7] });
});

test('the same graph gives the same bytes, and 7,000 nodes are no burden', () => {
  const build = () => {
    const g = onnx.graphBuilder('long');
    let value = g.input('x', 'float32', ['T', 4]);
    for (let index = 0; index < 7000; index++) value = onnx.add(g, value, index % 50);
    g.output('y', value);
    return onnx.encodeModel(g.finish());
  };
  expect(Buffer.from(build()).equals(Buffer.from(build()))).toBe(true);
});
