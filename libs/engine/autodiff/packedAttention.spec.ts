import { expect, test } from 'vitest';
import { graphBuilder, ops, type AttentionOptions } from '@pairwise/onnx';
import { openSession, type Session, type Tensor } from '@pairwise/ort';
import { gradients } from './index.ts';

const [rows, heads, kvHeads, width] = [40, 4, 2, 8];
/** Two trees: a prefix of 10 rows with branches of 9 and 6, and one of 5 with branches of 8 and 2. */
const parts = [10, 9, 6, 5, 8, 2];
const prefixOf = [0, 0, 0, 3, 3, 3];
const firstPosition = [0, 10, 10, 0, 5, 5];
const perRow = (value: (part: number, at: number) => number) =>
  Int32Array.from(parts.flatMap((count, part) => Array.from({ length: count }, (_, at) => value(part, at))));
const positions = perRow((part, at) => firstPosition[part]! + at);
const branches = perRow((part) => part);
const prefixes = perRow((part) => prefixOf[part]!);
const wave = (seed: number, dims: number[]): Tensor<'float32'> => ({
  dtype: 'float32',
  dims,
  data: Float32Array.from({ length: dims.reduce((a, b) => a * b) }, (_, i) => Math.sin(seed + 1.7 * i + 0.01 * i * i)),
});
const feeds = {
  q: wave(1, [rows, heads, width]),
  k: wave(2, [rows, kvHeads, width]),
  v: wave(3, [rows, kvHeads, width]),
  weights: wave(4, [rows, heads, width]),
  ...Object.fromEntries(
    Object.entries({ positions, branches, prefixes }).map(([name, data]): [string, Tensor] => [
      name,
      { dtype: 'int32', dims: [rows], data },
    ]),
  ),
};
const whole = [
  [0, 25, 0, 25],
  [25, 40, 25, 40],
];
const cut = [
  [0, 8, 0, 8],
  [8, 16, 0, 16],
  [16, 25, 0, 25],
  [25, 33, 25, 33],
  [33, 40, 25, 40],
];
const together = [[0, 40, 0, 40]];

async function open(options: AttentionOptions, threads: number): Promise<Session> {
  const g = graphBuilder('attention');
  const { mul, packedAttention, reduceSum } = ops(g);
  const inputs = ['q', 'k', 'v'].map((name) => g.input(name, 'float32', ['T', name === 'q' ? heads : kvHeads, width]));
  const [q, k, v] = inputs as [(typeof inputs)[0], (typeof inputs)[0], (typeof inputs)[0]];
  const index = (name: string) => g.input(name, 'int32', ['T']);
  const chunks = g.input('chunks', 'int64', ['M', 4]);
  const places = { positions: index('positions'), branches: index('branches'), prefixes: index('prefixes'), chunks };
  const y = packedAttention(q, k, v, places, options);
  const loss = reduceSum(mul(y, g.input('weights', 'float32', ['T', heads, width])), [0, 1, 2], { keepDims: false });
  g.output('y', y);
  gradients(g, loss, inputs).forEach((gradient, i) => g.output(`d${inputs[i]!.name}`, gradient));
  return openSession({ graph: g.finish(), threads });
}

async function results(session: Session, chunks: number[][]): Promise<Record<string, Float32Array>> {
  const table: Tensor = { dtype: 'int64', dims: [chunks.length, 4], data: BigInt64Array.from(chunks.flat(), BigInt) };
  const all = await session.run({ ...feeds, chunks: table });
  return Object.fromEntries(Object.entries(all).map(([name, { data }]) => [name, data as Float32Array]));
}

/** The definition, one query and head at a time in float64. */
function attended({ window = Infinity, softcap }: AttentionOptions): Float64Array {
  const y = new Float64Array(rows * heads * width);
  for (let i = 0; i < rows; i++) {
    for (let head = 0; head < heads; head++) {
      const group = Math.floor((head * kvHeads) / heads);
      const at = (tensor: Tensor<'float32'>, row: number, d: number) =>
        tensor.data[(row * kvHeads + group) * width + d]!;
      const exps = Array.from({ length: rows }, (_, j) => {
        const related = branches[j] === branches[i] || branches[j] === prefixes[i];
        const back = positions[i]! - positions[j]!;
        if (!related || back < 0 || back >= window) return 0;
        let score = 0;
        for (let d = 0; d < width; d++) score += feeds.q.data[(i * heads + head) * width + d]! * at(feeds.k, j, d);
        return Math.exp(softcap === undefined ? score : softcap * Math.tanh(score / softcap));
      });
      const total = exps.reduce((a, b) => a + b);
      for (let d = 0; d < width; d++) {
        y[(i * heads + head) * width + d] = exps.reduce((sum, e, j) => sum + (e / total) * at(feeds.v, j, d), 0);
      }
    }
  }
  return y;
}

const distance = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  Math.max(...Array.from(a, (value, i) => Math.abs(value - b[i]!)));

test.each<[string, AttentionOptions]>([
  ['plain', {}],
  ['with a window', { window: 6 }],
  ['with a soft cap', { softcap: 2 }],
])('attention %s is what its definition says, and the same in any chunks', async (_, options) => {
  const session = await open(options, 1);
  const one = await results(session, together);
  expect(distance(one['y']!, attended(options))).toBeLessThan(1e-6);
  // More keys in a product change the order in which the runtime adds, and with it the last bits.
  for (const chunks of [whole, cut]) {
    const other = await results(session, chunks);
    for (const name of ['y', 'dq', 'dk', 'dv']) expect(distance(other[name]!, one[name]!), name).toBeLessThan(2e-6);
  }
  await session.close();
});

test('the same chunks give the same bits in every run, with one thread or two', async () => {
  const bits = new Set<string>();
  for (const threads of [1, 2]) {
    const session = await open({}, threads);
    for (let run = 0; run < 2; run++) {
      const all = await results(session, cut);
      bits.add(['y', 'dq', 'dk', 'dv'].map((name) => Buffer.from(all[name]!.buffer).toString('base64')).join());
    }
    await session.close();
  }
  expect(bits.size).toBe(1);
});
