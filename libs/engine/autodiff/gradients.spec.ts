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

test('activation checkpointing recomputes marked nodes after the loss, from values that were kept', async () => {
  const build = (marked: boolean) => {
    const { g, x, w } = setting();
    const { exp, matMul, mul } = ops(g);
    const h = matMul(x, w);
    const cheap = () => mul(exp(h), x);
    const y = matMul(marked ? g.activationCheckpointing(cheap) : cheap(), w);
    const [dw] = gradients(g, total(g, mul(y, y)), [w]);
    return { g, dw: dw! };
  };
  const feeds = {
    x: x1,
    w: { dtype: 'float32', dims: [3, 3], data: Float32Array.from([1, -2, 3, 0, 1, 2, -1, 1, 0]) },
  };
  const [kept, recomputed] = [build(false), build(true)];
  expect(await evaluate(recomputed.g, feeds as Record<string, Tensor>, recomputed.dw)).toEqual(
    await evaluate(kept.g, feeds as Record<string, Tensor>, kept.dw),
  );
  const count = (g: GraphBuilder) => g.finish().nodes.filter(({ op }) => op === 'Exp').length;
  expect([count(kept.g), count(recomputed.g)]).toEqual([1, 2]);
  // The second Exp reads h times a factor that depends on the loss.
  const [, second] = recomputed.g.finish().nodes.filter(({ op }) => op === 'Exp');
  expect(recomputed.g.producer(second!.inputs[0]!)?.op).toBe('Mul');
});

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
