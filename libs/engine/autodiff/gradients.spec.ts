import { expect, test } from 'vitest';
import { add, cast, exp, gather, graphBuilder, matMul, mul, reduceMax, reduceSum, stopGradient } from '@pairwise/onnx';
import type { GraphBuilder, Value } from '@pairwise/onnx';
import { openSession } from '@pairwise/ort';
import type { Tensor } from '@pairwise/ort';
import { gradients } from './index.ts';

function setting(): { g: GraphBuilder; x: Value; w: Value } {
  const g = graphBuilder('walk');
  return { g, x: g.input('x', 'float32', ['T', 3]), w: g.input('w', 'float32', [3, 3]) };
}

const total = (g: GraphBuilder, x: Value) =>
  reduceSum(
    g,
    x,
    x.shape.map((_, axis) => axis),
    { keepDims: false },
  );
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
  const x = g.input('x', 'float32', ['T', 3]);
  const y = add(g, mul(g, x, x), mul(g, x, 5));
  const [dx] = gradients(g, total(g, add(g, y, x)), [x]);
  expect(await evaluate(g, { x: x1 }, dx!)).toEqual([8, 10, 12]);
});

test('no gradient flows through stopGradient or through integers', async () => {
  const g = graphBuilder('stop');
  const x = g.input('x', 'float32', ['T', 3]);
  const frozen = stopGradient(g, exp(g, x));
  const truncated = cast(g, cast(g, x, 'int32'), 'float32');
  const [dx] = gradients(g, total(g, add(g, mul(g, x, truncated), frozen)), [x]);
  expect(await evaluate(g, { x: x1 }, dx!)).toEqual([1, 2, 3]);
});

test('what is marked is computed anew for the gradient, from what is kept, after the loss', async () => {
  const build = (marked: boolean) => {
    const { g, x, w } = setting();
    const h = matMul(g, x, w);
    const cheap = () => mul(g, exp(g, h), x);
    const y = matMul(g, marked ? g.recomputed(cheap) : cheap(), w);
    const [dw] = gradients(g, total(g, mul(g, y, y)), [w]);
    return { g, dw: dw! };
  };
  const feeds = {
    x: x1,
    w: { dtype: 'float32', dims: [3, 3], data: Float32Array.from([1, -2, 3, 0, 1, 2, -1, 1, 0]) },
  };
  const [kept, anew] = [build(false), build(true)];
  expect(await evaluate(anew.g, feeds as Record<string, Tensor>, anew.dw)).toEqual(
    await evaluate(kept.g, feeds as Record<string, Tensor>, kept.dw),
  );
  const count = (g: GraphBuilder) => g.finish().nodes.filter(({ op }) => op === 'Exp').length;
  expect([count(kept.g), count(anew.g)]).toEqual([1, 2]);
  // The second Exp reads h by a factor that depends on the loss.
  const [, again] = anew.g.finish().nodes.filter(({ op }) => op === 'Exp');
  expect(anew.g.producer(again!.inputs[0]!)?.op).toBe('Mul');
});

test('an intermediate value may be asked for; nothing before it is worked on', () => {
  const { g, x, w } = setting();
  const h = matMul(g, x, w);
  const loss = total(g, mul(g, h, h));
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

test('frozen operands cost nothing', () => {
  const { g, x, w } = setting();
  const h = matMul(g, matMul(g, x, w), w);
  const before = g.nodes().length;
  gradients(g, total(g, h), [x]);
  expect(
    g
      .nodes()
      .slice(before)
      .filter(({ op }) => op === 'Gemm').length,
  ).toBe(2);
});

test('an operator without a rule is named, but only where a gradient would pass it', () => {
  const { g, x, w } = setting();
  const largest = reduceMax(g, x, [-1]);
  expect(() => gradients(g, total(g, mul(g, x, largest)), [x])).toThrow(/no gradient rule for the operator ReduceMax/);
  expect(() => gradients(g, total(g, matMul(g, mul(g, x, largest), w)), [w])).not.toThrow();
  expect(() => gradients(g, total(g, mul(g, x, stopGradient(g, largest))), [x])).not.toThrow();
});

test('a loss that is no number, and a value that does not matter, are errors', () => {
  const { g, x, w } = setting();
  expect(() => gradients(g, x, [x])).toThrow(/not one real number/);
  expect(() => gradients(g, total(g, x), [x, w])).toThrow(/w does not influence/);
});

test('the gradient of an embedding adds repeated rows exactly and alike with two threads', async () => {
  const [rows, width, tokens] = [64, 32, 3000];
  const g = graphBuilder('embedding');
  const table = g.input('table', 'float32', [rows, width]);
  const weights = g.input('weights', 'float32', ['T', width]);
  const picked = gather(g, table, g.input('tokens', 'int32', ['T']));
  const [gradient] = gradients(g, total(g, mul(g, picked, weights)), [table]);
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
