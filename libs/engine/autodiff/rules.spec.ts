import { expect, test } from 'vitest';
import { graphBuilder, ops } from '@pairwise/onnx';
import type { Dtype, Ops, Shape, Value } from '@pairwise/onnx';
import { openSession } from '@pairwise/ort';
import type { Session, Tensor } from '@pairwise/ort';
import { gradients, gradientRules } from './index.ts';

/*
 * Every rule is compared with central differences of the runtime's own forward pass in float64. With steps of 1e-4 the
 * difference has an error of about 1e-8 (third derivative) plus 1e-12 (rounding), so the tolerance is 1e-7 relative.
 * Cast and Softplus pass through float32, since the runtime has no Softplus in float64. With a step of h = 2^-6, rounding y
 * to 6e-8 adds up to 2e-5 to the difference, and h^2/6 times the third derivative of the loss (below 1.7) adds 7e-5.
 */

/** The named sizes in the feeds. */
const sizes: Readonly<Record<string, number>> = { T: 3, P: 2, L: 4, S: 7 };

interface Case {
  readonly op: string;
  readonly shapes: readonly Shape[];
  readonly build: (o: Ops, ...inputs: Value[]) => Value;
  /** Range of the inputs. @default [-1.5, 1.5] */
  readonly range?: readonly [number, number];
  /** Integer feeds, which follow the inputs. */
  readonly extra?: readonly { readonly feed: Tensor; readonly shape: Shape }[];
  readonly step?: number;
  readonly tolerance?: number;
}

const positive = { range: [0.5, 2] } as const;
const coarse = { step: 2 ** -6, tolerance: 1e-4 };
/** Pairs of shapes that cover every way to broadcast, with and without named sizes. */
const pairs: readonly (readonly [Shape, Shape])[] = [
  [
    [2, 3],
    [2, 3],
  ],
  [
    ['T', 4],
    ['T', 4],
  ],
  [['T', 4], [4]],
  [['T', 4], []],
  [[4], ['T', 1]],
  [
    ['T', 1],
    [1, 4],
  ],
  [
    [2, 1, 3],
    ['T', 1],
  ],
  [
    ['P', 1, 'L'],
    [2, 'L'],
  ],
];
const shapes: readonly Shape[] = [[5], ['T', 4], [2, 'P', 3]];

type Binary = (o: Ops, a: Value, b: Value) => Value;
type Unary = (o: Ops, x: Value) => Value;
const binary = (op: string, build: Binary, more: Partial<Case> = {}): Case[] =>
  pairs.map((both) => ({ op, shapes: both, build, ...more }));
const unary = (op: string, build: Unary, more: Partial<Case> = {}): Case[] =>
  shapes.map((shape) => ({ op, shapes: [shape], build, ...more }));
const one = (op: string, shape: Shape, build: Unary): Case => ({ op, shapes: [shape], build });
const two = (op: string, a: Shape, b: Shape, build: Binary): Case => ({ op, shapes: [a, b], build });

function ints(dims: number[], data: number[], shape: Shape = dims, dtype: 'int32' | 'int64' = 'int32') {
  const array = dtype === 'int32' ? Int32Array.from(data) : BigInt64Array.from(data, BigInt);
  return { feed: { dtype, dims, data: array } as Tensor, shape };
}
const throughFloat32 =
  (f: Unary): Unary =>
  (o, x) =>
    o.cast(f(o, o.cast(x, 'float32')), 'float64');

const gemmCases = [0, 1, 2, 3].flatMap((bits): Case[] => {
  const [transA, transB] = [(bits & 1) === 1, (bits & 2) === 2];
  const a: Shape = transA ? [4, 'T'] : ['T', 4];
  const b: Shape = transB ? [2, 4] : [4, 2];
  const biases: Shape[] = [[2], ['T', 2], ['T', 1], []];
  return [
    two('Gemm', a, b, (o, x, w) => o.gemm(x, w, { transA, transB, alpha: 0.7 })),
    {
      op: 'Gemm',
      shapes: [a, b, biases[bits]!],
      build: (o, x, w, bias) => o.gemm(x, w, { transA, transB, bias: bias }),
    },
  ];
});

const matMul: Binary = (o, a, b) => o.matMul(a, b);

const cases: readonly Case[] = [
  ...binary('Add', (o, a, b) => o.add(a, b)),
  ...binary('Sub', (o, a, b) => o.sub(a, b)),
  ...binary('Mul', (o, a, b) => o.mul(a, b)),
  ...binary('Div', (o, a, b) => o.div(a, b), positive),
  one('Mul', ['T', 4], (o, x) => o.mul(x, x)),
  ...unary('Neg', (o, x) => o.neg(x)),
  ...unary('Sqrt', (o, x) => o.sqrt(x), positive),
  ...unary('Reciprocal', (o, x) => o.reciprocal(x), positive),
  ...unary('Exp', (o, x) => o.exp(x)),
  ...unary('Log', (o, x) => o.log(x), positive),
  ...unary('Sigmoid', (o, x) => o.sigmoid(x)),
  ...unary('Tanh', (o, x) => o.tanh(x)),
  ...unary(
    'Softplus',
    throughFloat32((o, x) => o.softplus(x)),
    coarse,
  ),
  ...unary(
    'Cast',
    throughFloat32((_, x) => x),
    coarse,
  ),
  ...gemmCases,
  two('MatMul', [2, 3], [3, 4], matMul),
  two('MatMul', ['T', 4], [4, 2], matMul),
  two('MatMul', ['P', 'T', 4], [4, 2], matMul),
  two('MatMul', ['P', 2, 'T', 4], [4, 3], matMul),
  two('MatMul', ['P', 2, 'T', 4], ['P', 2, 4, 'L'], matMul),
  two('MatMul', ['P', 2, 'T', 4], ['P', 1, 4, 'L'], matMul),
  two('MatMul', ['P', 1, 'T', 4], [2, 4, 'L'], matMul),
  two('MatMul', ['T', 4], ['P', 4, 3], matMul),
  two('MatMul', ['P', 2, 'T', 3], ['P', 2, 'L', 3], (o, q, k) => o.matMul(q, o.transpose(k, [0, 1, 3, 2]))),
  ...[true, false].flatMap((keepDims) => [
    ...shapes.map((shape) => one('ReduceSum', shape, (o, x) => o.reduceSum(x, [-1], { keepDims }))),
    one('ReduceSum', ['P', 3, 'L'], (o, x) => o.reduceSum(x, [0, 2], { keepDims })),
    one('ReduceMean', ['T', 4], (o, x) => o.reduceMean(x, [-1], { keepDims })),
    one('ReduceMean', [2, 'T', 3], (o, x) => o.reduceMean(x, [0, 2], { keepDims })),
  ]),
  ...shapes.map((shape) => one('Softmax', shape, (o, x) => o.softmax(x))),
  one('Softmax', ['P', 3, 'L'], (o, x) => o.softmax(x, 1)),
  // A tree of a prefix of 2 rows and branches of 2 and 1, then one of a prefix and a branch of 1, in four chunks of queries.
  ...[{}, { window: 2 }, { softcap: 1.5 }, { window: 3, softcap: 2 }].map((options): Case => ({
    op: 'PackedAttention',
    shapes: [
      ['S', 4, 2],
      ['S', 2, 2],
      ['S', 2, 2],
    ],
    build: (o, q, k, v, positions, branches, prefixes, chunks) =>
      o.packedAttention(q, k, v, { positions, branches, prefixes, chunks }, options),
    extra: [
      ints([7], [0, 1, 2, 3, 2, 0, 1], ['S']),
      ints([7], [0, 0, 1, 1, 2, 3, 4], ['S']),
      ints([7], [0, 0, 0, 0, 0, 3, 3], ['S']),
      ints([4, 4], [0, 2, 0, 2, 2, 3, 0, 3, 3, 5, 0, 5, 5, 7, 5, 7], ['M', 4], 'int64'),
    ],
  })),
  ...[{}, { rows: 3 }, { softcap: 1.5 }, { rows: 3, softcap: 2 }].map((options): Case => ({
    op: 'TargetLogps',
    shapes: [
      ['T', 4],
      [7, 4],
    ],
    build: (o, hidden, head, targets) => o.targetLogps(hidden, head, targets, options),
    extra: [ints([3], [6, 0, 6], ['T'])],
  })),
  one('Reshape', [2, 6], (o, x) => o.reshape(x, [3, 4])),
  one('Reshape', ['T', 4], (o, x) => o.reshape(x, ['T', 2, 2])),
  one('Reshape', ['P', 3, 'L', 2], (o, x) => o.reshape(x, ['3*L*P', 2])),
  one('Transpose', ['T', 4], (o, x) => o.transpose(x, [1, 0])),
  one('Transpose', ['P', 3, 'L', 2], (o, x) => o.transpose(x, [2, 0, 3, 1])),
  two('Concat', ['T', 2], ['T', 3], (o, a, b) => o.concat([a, b, a], 1)),
  two('Concat', ['T', 2], ['L', 2], (o, a, b) => o.concat([a, b, a], 0)),
  one('Split', ['T', 5], (o, x) => o.mul(...(o.split(x, 1, [2, 1, 2]).filter((_, i) => i !== 1) as [Value, Value]))),
  one('Split', [6], (o, x) => o.split(x, 0, [2, 4])[1]!),
  one('Expand', [3, 1], (o, x) => o.expand(x, [2, 3, 4])),
  two('Expand', ['T', 1], ['P', 'T', 2], (o, x, like) => o.add(o.expand(x, like.shape, like), like)),
  one('Unsqueeze', ['T', 4], (o, x) => o.unsqueeze(x, [0, 2])),
  one('Squeeze', ['T', 1, 4, 1], (o, x) => o.squeeze(x, [1, -1])),
  {
    op: 'Gather',
    shapes: [[5, 3]],
    build: (o, x, index) => o.gather(x, index),
    extra: [ints([3], [4, 1, 4], ['T'])],
  },
  {
    op: 'Gather',
    shapes: [[5, 3]],
    build: (o, x, index) => o.gather(x, index),
    extra: [ints([2, 3], [4, 0, 4, 2, 2, 4], ['P', 'T'], 'int64')],
  },
  ...[false, true].map((rank3): Case => ({
    op: 'GatherRows',
    shapes: [rank3 ? ['T', 2, 2] : [6, 2]],
    build: (o, x, index, first, second) =>
      o.gatherRows(
        x,
        { index: index, none: true },
        [first, second].map((rows) => ({ index: rows, none: true })),
      ),
    extra: [
      ints([2, 4], [0, 3, 3, -1, 5, 1, 0, -1], ['P', 'L']),
      ints(rank3 ? [3, 2] : [6], [0, 5, -1, 1, -1, 4], rank3 ? ['T', 2] : [6]),
      ints(rank3 ? [3, 2] : [6], [6, -1, -1, 2, -1, -1], rank3 ? ['T', 2] : [6]),
    ],
  })),
  {
    op: 'GatherRows',
    shapes: [[3, 2]],
    build: (o, x, index, inverse) => o.gatherRows(x, { index: index, none: false }, [{ index: inverse, none: false }]),
    extra: [ints([3], [2, 0, 1]), ints([3], [1, 2, 0])],
  },
];

/** Losses of y: their gradients have the full shape of y, a single element, and a single column. */
function losses(o: Ops, y: Value): Value[] {
  const total = (x: Value) =>
    o.reduceSum(
      x,
      x.shape.map((_, axis) => axis),
      { keepDims: false },
    );
  const plain = total(y);
  const shifted = o.add(y, 0.7);
  const squares = total(o.mul(shifted, shifted));
  if (y.shape.length === 0) return [squares, plain];
  const rows = o.reduceSum(y, [-1]);
  return [squares, plain, total(o.mul(rows, rows))];
}

function noise(
  seed: number,
  dims: readonly number[],
  [low, high]: readonly [number, number] = [-1.5, 1.5],
): Tensor<'float64'> {
  let state = seed;
  const data = Float64Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return low + (state / 2 ** 32) * (high - low);
  });
  return { dtype: 'float64', dims, data };
}

async function differences(session: Session, feeds: Record<string, Tensor>, input: string, loss: string, step: number) {
  const x = feeds[input] as Tensor<'float64'>;
  const at = async (data: Float64Array) => {
    const results = await session.run({ ...feeds, [input]: { ...x, data } }, { fetch: [loss] });
    return (results[loss] as Tensor<'float64'>).data[0]!;
  };
  const slopes: number[] = [];
  for (const [index, value] of x.data.entries()) {
    slopes.push(
      ((await at(x.data.with(index, value + step))) - (await at(x.data.with(index, value - step)))) / (2 * step),
    );
  }
  return slopes;
}

test.each(
  cases.map((item) => [`${item.op} ${item.shapes.map((shape) => `[${shape.join()}]`).join(' ')}`, item] as const),
)('%s', async (_, { op, shapes: inputShapes, build, range, extra = [], step = 1e-4, tolerance = 1e-7 }) => {
  const g = graphBuilder('case');
  const xs = inputShapes.map((shape, index) => g.input(`x${index}`, 'float64' satisfies Dtype, shape));
  const o = ops(g);
  const y = build(o, ...xs, ...extra.map(({ feed, shape }, index) => g.input(`extra${index}`, feed.dtype, shape)));
  expect(g.nodes().map((node) => node.op)).toContain(op);
  const all = losses(o, y);
  all.forEach((loss, index) => {
    g.output(`loss${index}`, loss);
    gradients(g, loss, xs).forEach((gradient, x) => g.output(`gradient${index}.${x}`, gradient));
  });
  const feeds: Record<string, Tensor> = {};
  xs.forEach((x, index) => {
    feeds[x.name] = noise(
      index + 3,
      x.shape.map((dim) => (typeof dim === 'number' ? dim : sizes[dim]!)),
      range,
    );
  });
  extra.forEach(({ feed }, index) => (feeds[`extra${index}`] = feed));
  const session = await openSession({ graph: g.finish(), threads: 1 });
  const results = await session.run(feeds);
  for (const [index] of all.entries()) {
    for (const [at, x] of xs.entries()) {
      const gradient = results[`gradient${index}.${at}`] as Tensor<'float64'>;
      expect(gradient.dims).toEqual(feeds[x.name]!.dims);
      const slopes = await differences(session, feeds, x.name, `loss${index}`, step);
      for (const [element, slope] of slopes.entries()) {
        const error = Math.abs(gradient.data[element]! - slope) / Math.max(1, Math.abs(slope));
        expect(error, `loss ${index}, element ${element} of ${x.name}`).toBeLessThan(tolerance);
      }
    }
  }
  await session.close();
});

test('every rule has a case', () => {
  expect([...new Set(cases.map(({ op }) => op))].sort()).toEqual(
    Object.keys(gradientRules(graphBuilder('any'))).sort(),
  );
});
