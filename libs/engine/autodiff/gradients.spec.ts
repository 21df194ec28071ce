import { expect, test } from 'vitest';
import { graphBuilder, ops } from '@pairwise/onnx';
import type { GraphBuilder, Value } from '@pairwise/onnx';
import { openSession } from '@pairwise/ort';
import type { Tensor } from '@pairwise/ort';
import { gradients } from './index.ts';

function setting(): { g: GraphBuilder; x: Value; w: Value } {
  const g = graphBuilder('walk');
  return { g, x: g.input('x', 'float32', ['T', 3]), w: g.input('w', 'float32', [3, 3]) };
}

const total = (g: GraphBuilder, x: Value) => ops(g).reduceSum(x, [...x.shape.keys()], { keepDims: false });
const x1: Tensor = { dtype: 'float32', dims: [1, 3], data: Float32Array.of(1, 2, 3) };

async function evaluate(g: GraphBuilder, feeds: Record<string, Tensor>, gradient: Value): Promise<number[]> {
  g.output('gradient', gradient);
  const session = await openSession({ graph: g.finish(), threads: 1 });
  const results = await session.run(feeds);
  await session.close();
  return [...(results.gradient!.data as Float32Array)];
}

test('a value used several times gets the sum of its gradients', async () => {
  const g = graphBuilder('fan-out');
  const { add, mul } = ops(g);
  const x = g.input('x', 'float32', ['T', 3]);
  const y = add(mul(x, x), mul(x, 5));
  const [dx] = gradients(g, total(g, add(y, x)), [x]);
  expect(await evaluate(g, { x: x1 }, dx!)).toEqual([8, 10, 12]);
});

test('no gradient flows through stopGradient or through integers', async () => {
  const g = graphBuilder('stop');
  const { add, cast, exp, mul, stopGradient } = ops(g);
  const x = g.input('x', 'float32', ['T', 3]);
  const frozen = stopGradient(exp(x));
  const truncated = cast(cast(x, 'int32'), 'float32');
  const [dx] = gradients(g, total(g, add(mul(x, truncated), frozen)), [x]);
  expect(await evaluate(g, { x: x1 }, dx!)).toEqual([1, 2, 3]);
});

test('activation checkpointing recomputes marked nodes after the gradient that needs them, from values that were kept', async () => {
  const build = (mark: 'always' | 'layers' | 'never', level: 'cheap' | 'layers') => {
    const { g, x, w } = setting();
    const { exp, matMul, mul } = ops(g);
    const h = matMul(x, w);
    const y = matMul(
      g.activationCheckpointing(mark, () => mul(exp(h), x)),
      w,
    );
    const [dw] = gradients(g, total(g, mul(y, y)), [w], level);
    return { g, dw: dw! };
  };
  const feeds: Record<string, Tensor> = {
    x: x1,
    w: { dtype: 'float32', dims: [3, 3], data: Float32Array.from([1, -2, 3, 0, 1, 2, -1, 1, 0]) },
  };
  const exps = (g: GraphBuilder) => g.finish().nodes.filter(({ op }) => op === 'Exp');
  const kept = build('never', 'layers');
  const expected = await evaluate(kept.g, feeds, kept.dw);
  expect(exps(kept.g)).toHaveLength(1);
  for (const [mark, level, count] of [
    ['layers', 'cheap', 1],
    ['layers', 'layers', 2],
    ['always', 'cheap', 2],
  ] as const) {
    const { g, dw } = build(mark, level);
    expect(await evaluate(g, feeds, dw)).toEqual(expected);
    expect(exps(g)).toHaveLength(count);
    if (count === 1) continue;
    // The second Exp reads h times a factor that depends on the gradient of y, so on y itself.
    const barrier = g.producer(exps(g)[1]!.inputs[0]!);
    expect(barrier?.op).toBe('Mul');
    expect(ancestors(g, barrier!.inputs[1]!)).toContain(exps(g)[0]!.name);
  }
});

test('a barrier is put on the smallest value of a batch, never on a weight, and a cast weight is kept', () => {
  const g = graphBuilder('barrier');
  const { cast, matMul, mul } = ops(g);
  const x = g.input('x', 'float32', ['T', 300]);
  const w = g.input('w', 'float32', [300, 300]);
  const stored = g.external('stored', 'float16', [300, 3], { location: 'w', offset: 0, length: 1800 });
  const h = matMul(x, w);
  const y = g.activationCheckpointing('layers', () => matMul(h, cast(stored, 'float32')));
  const loss = total(g, mul(y, y));
  g.output('loss', loss);
  g.output('dw', gradients(g, loss, [w], 'layers')[0]!);
  const { nodes } = g.finish();
  expect(nodes.filter(({ op }) => op === 'Cast')).toHaveLength(1);
  const products = nodes.filter(({ op, inputs }) => op === 'MatMul' && inputs[1]!.name.startsWith('Cast'));
  expect(products).toHaveLength(2);
  expect(g.producer(products[1]!.inputs[0]!)?.inputs[0]).toEqual(h);
});

/** The names of all nodes that a value depends on. */
function ancestors(g: GraphBuilder, value: Value): string[] {
  const node = g.producer(value);
  return node ? [node.name, ...node.inputs.flatMap((input) => (input ? ancestors(g, input) : []))] : [];
}

test('the gradient of an intermediate value adds no node for what comes before it', () => {
  const { g, x, w } = setting();
  const { matMul, mul } = ops(g);
  const h = matMul(x, w);
  const loss = total(g, mul(h, h));
  const before = g.nodes().length;
  const [dh] = gradients(g, loss, [h]);
  expect(dh!.shape).toEqual(['T', 3]);
  const added = g
    .nodes()
    .slice(before)
    .map(({ op }) => op);
  expect(added).not.toContain('MatMul');
  expect(added).not.toContain('Gemm');
});

test('frozen operands get no gradient nodes', () => {
  const { g, x, w } = setting();
  const { matMul } = ops(g);
  const h = matMul(matMul(x, w), w);
  const before = g.nodes().length;
  gradients(g, total(g, h), [x]);
  expect(
    g
      .nodes()
      .slice(before)
      .filter(({ op }) => op === 'Gemm').length,
  ).toBe(2);
});

test('an operator without a rule is an error that names it, but only where a gradient flows through it', () => {
  const { g, x, w } = setting();
  const { matMul, mul, reduceMax, stopGradient } = ops(g);
  const largest = reduceMax(x, [-1]);
  expect(() => gradients(g, total(g, mul(x, largest)), [x])).toThrow(
    /the operator ReduceMax does not have a gradient rule/,
  );
  expect(() => gradients(g, total(g, matMul(mul(x, largest), w)), [w])).not.toThrow();
  expect(() => gradients(g, total(g, mul(x, stopGradient(largest))), [x])).not.toThrow();
});

test('a loss that is not one number and a value without influence are errors', () => {
  const { g, x, w } = setting();
  expect(() => gradients(g, x, [x])).toThrow(/not a single real number/);
  expect(() => gradients(g, total(g, x), [x, w])).toThrow(/w does not influence/);
});

test('the gradient of an embedding adds repeated rows, with the same bits for one and two threads', async () => {
  const [rows, width, tokens] = [64, 32, 3000];
  const g = graphBuilder('embedding');
  const { gather, mul } = ops(g);
  const table = g.input('table', 'float32', [rows, width]);
  const weights = g.input('weights', 'float32', ['T', width]);
  const picked = gather(table, g.input('tokens', 'int32', ['T']));
  const [gradient] = gradients(g, total(g, mul(picked, weights)), [table]);
  g.output('gradient', gradient!);
  const ids = Int32Array.from({ length: tokens }, (_, at) => (at * at) % 7);
  const data = Float32Array.from({ length: tokens * width }, (_, at) => Math.sin(at));
  const feeds: Record<string, Tensor> = {
    table: { dtype: 'float32', dims: [rows, width], data: new Float32Array(rows * width) },
    tokens: { dtype: 'int32', dims: [tokens], data: ids },
    weights: { dtype: 'float32', dims: [tokens, width], data },
  };
  const expected = new Float64Array(rows * width);
  data.forEach((value, at) => (expected[ids[Math.floor(at / width)]! * width + (at % width)]! += value));
  const bits = new Set<string>();
  for (const threads of [1, 2]) {
    const session = await openSession({ graph: g.finish(), threads });
    for (let run = 0; run < 5; run++) {
      const result = (await session.run(feeds)).gradient!.data as Float32Array;
      expected.forEach((value, at) => expect(Math.abs(result[at]! - value)).toBeLessThan(1e-3));
      bits.add(Buffer.from(result.buffer).toString('base64'));
    }
    await session.close();
  }
  expect(bits.size).toBe(1);
});
