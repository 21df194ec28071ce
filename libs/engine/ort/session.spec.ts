import { describe, expect, test } from 'vitest';
import { graphBuilder, ops } from '@pairwise/onnx';
import { openSession, sharedTensor } from './index.ts';
import type { Tensor } from './index.ts';

/** Small repeatable numbers in [-1, 1). */
function noise(seed: number, dims: number[]): Tensor<'float32'> {
  let state = seed;
  const data = Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
  return { dtype: 'float32', dims, data };
}

function doubling() {
  const g = graphBuilder('doubling');
  const { mul, reduceSum } = ops(g);
  const x = g.input('x', 'float32', ['T', 2]);
  g.output('twice', mul(x, 2));
  g.output('sum', reduceSum(x, [0, 1]));
  return g.finish();
}

test('tensors of every type pass through', async () => {
  const g = graphBuilder('types');
  const feeds: Record<string, Tensor> = {
    float32: { dtype: 'float32', dims: [2], data: Float32Array.of(1.5, -2) },
    float64: { dtype: 'float64', dims: [2], data: Float64Array.of(1.1, -2) },
    float16: { dtype: 'float16', dims: [2], data: Uint16Array.of(0x3c00, 0xc000) },
    int32: { dtype: 'int32', dims: [2], data: Int32Array.of(-1, 2 ** 30) },
    uint32: { dtype: 'uint32', dims: [2], data: Uint32Array.of(1, 2 ** 31) },
    int64: { dtype: 'int64', dims: [2], data: BigInt64Array.of(-1n, 2n ** 60n) },
    bool: { dtype: 'bool', dims: [2], data: Uint8Array.of(0, 1) },
  };
  for (const [name, { dtype }] of Object.entries(feeds)) {
    const x = g.input(name, dtype, ['N']);
    // A bool takes part in a computation, because one that is stored wrongly could still pass through unchanged.
    const [inverted] = dtype === 'bool' ? g.node('Not', [x], {}, [{ dtype, shape: ['N'] }]) : [x];
    g.output(`${name}_out`, inverted!);
  }
  const session = await openSession({ graph: g.finish(), threads: 1 });
  const results = await session.run(feeds);
  for (const [name, feed] of Object.entries(feeds)) {
    const expected = name === 'bool' ? { ...feed, data: Uint8Array.of(1, 0) } : feed;
    expect(results[`${name}_out`]).toEqual(expected);
  }
  await session.close();
});

describe('a session', () => {
  test('reads feeds from shared memory, writes results to it, and computes only the requested results', async () => {
    const session = await openSession({ graph: doubling(), threads: 1 });
    const x = sharedTensor('float32', [3, 2]);
    x.data.set([1, 2, 3, 4, 5, 6]);
    const into = sharedTensor('float32', [3, 2]);
    const results = await session.run({ x }, { fetch: ['twice'], into: { twice: into } });
    expect(Object.keys(results)).toEqual(['twice']);
    expect([...into.data]).toEqual([2, 4, 6, 8, 10, 12]);
    await session.close();
  });

  test('refuses feeds that do not fit and names them', async () => {
    const session = await openSession({ graph: doubling(), threads: 1 });
    const x = noise(1, [3, 2]);
    await expect(session.run({})).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT', message: /input x is not fed/ });
    await expect(session.run({ x, y: x })).rejects.toMatchObject({ message: /no input y/ });
    await expect(session.run({ x: { ...x, dims: [2, 3] } })).rejects.toMatchObject({ reason: 'WRONG_SHAPE' });
    await expect(session.run({ x: { ...x, dims: [4, 2] } })).rejects.toMatchObject({ message: /with 6 numbers/ });
    await expect(session.run({ x: { ...x, dtype: 'float64' } })).rejects.toMatchObject({
      message: /not float32/,
    });
    await expect(session.run({ x }, { fetch: ['third'] })).rejects.toMatchObject({ message: /no output third/ });
    await session.close();
  });

  test('requires one size for a name in two shapes', async () => {
    const g = graphBuilder('two');
    const { add } = ops(g);
    g.output('y', add(g.input('a', 'float32', ['T']), g.input('b', 'float32', ['T'])));
    const session = await openSession({ graph: g.finish(), threads: 1 });
    await expect(session.run({ a: noise(1, [3]), b: noise(1, [1]) })).rejects.toMatchObject({ message: /\[T=3\]/ });
    await session.close();
  });

  test('finishes its runs before it closes, and then refuses new ones', async () => {
    const session = await openSession({ graph: doubling(), threads: 1 });
    const runs = Promise.all([session.run({ x: noise(1, [3, 2]) }), session.run({ x: noise(2, [1, 2]) })]);
    await session.close();
    expect((await runs).map((results) => results.twice?.dims)).toEqual([
      [3, 2],
      [1, 2],
    ]);
    await expect(session.run({ x: noise(1, [3, 2]) })).rejects.toMatchObject({ reason: 'WRONG_STATE' });
    await session.close();
  });

  test('keeps working after it ran out of memory', async () => {
    const g = graphBuilder('large');
    const size = g.input('size', 'int64', [1]);
    g.output('zeros', g.node('ConstantOfShape', [size], {}, [{ dtype: 'float32', shape: ['N'] }])[0]!);
    const session = await openSession({ graph: g.finish(), threads: 1 });
    const sizeOf = (n: bigint): Tensor => ({ dtype: 'int64', dims: [1], data: BigInt64Array.of(n) });
    await expect(session.run({ size: sizeOf(10n ** 14n) })).rejects.toMatchObject({ reason: 'OUT_OF_MEMORY' });
    await expect(session.run({ size: sizeOf(-3n) })).rejects.toMatchObject({ reason: 'INTERNAL' });
    expect((await session.run({ size: sizeOf(3n) })).zeros?.dims).toEqual([3]);
    await session.close();
  });

  test('reports a graph that the runtime refuses', async () => {
    const g = graphBuilder('broken');
    g.output('y', g.node('NoSuchOperator', [g.input('x', 'float32', [1])], {}, [{ dtype: 'float32', shape: [1] }])[0]!);
    await expect(openSession({ graph: g.finish() })).rejects.toMatchObject({
      reason: 'INTERNAL',
      message: /NoSuchOperator/,
    });
  });
});

test('the same feeds give the same bits in every run and session, with one thread or two', async () => {
  const g = graphBuilder('numerics');
  const { exp, gemm, matMul, mul, reduceMean, reduceSum, softmax, transpose } = ops(g);
  const x = g.input('x', 'float32', ['T', 192]);
  const w = g.input('w', 'float32', [576, 192]);
  const h = gemm(x, w, { transB: true });
  const p = softmax(matMul(h, transpose(h, [1, 0])));
  g.output('mixed', exp(mul(matMul(p, h), 0.01)));
  g.output('gradient', gemm(h, x, { transA: true }));
  g.output('rows', reduceSum(h, [0]));
  g.output('all', reduceSum(h, [0, 1]));
  g.output('mean', reduceMean(mul(h, h), [-1]));
  const feeds = { x: noise(7, [333, 192]), w: noise(8, [576, 192]) };
  const bits: Record<string, Buffer>[] = [];
  for (const threads of [1, 1, 2]) {
    const session = await openSession({ graph: g.finish(), threads });
    for (let run = 0; run < 3; run++) {
      const results = await session.run(feeds);
      bits.push(
        Object.fromEntries(Object.entries(results).map(([name, { data }]) => [name, Buffer.from(data.buffer)])),
      );
    }
    await session.close();
  }
  for (const other of bits) {
    for (const name of Object.keys(other)) expect(other[name]!.equals(bits[0]![name]!), name).toBe(true);
  }
});
