import { expect, test } from 'vitest';
import { graphBuilder, ops } from '@pairwise/onnx';
import { openSession, type Tensor } from '@pairwise/ort';
import { gradients } from './index.ts';

const [count, width, vocabulary] = [5, 16, 40];
const wave = (seed: number, dims: number[]): Tensor<'float32'> => ({
  dtype: 'float32',
  dims,
  data: Float32Array.from({ length: dims.reduce((a, b) => a * b) }, (_, i) => Math.sin(seed + 1.7 * i + 0.01 * i * i)),
});
const feeds: Record<string, Tensor> = {
  hidden: wave(1, [count, width]),
  head: wave(2, [vocabulary, width]),
  targets: { dtype: 'int32', dims: [count], data: Int32Array.of(0, 39, 7, 6, 7) },
};

async function results(rows: number, softcap: number | undefined, threads: number): Promise<Float32Array[]> {
  const g = graphBuilder('vocabulary');
  const hidden = g.input('hidden', 'float32', ['N', width]);
  const head = g.input('head', 'float32', [vocabulary, width]);
  const { reduceSum, targetLogps } = ops(g);
  const logps = targetLogps(hidden, head, g.input('targets', 'int32', ['N']), { rows, softcap });
  g.output('logps', logps);
  const all = gradients(g, reduceSum(logps, [0], { keepDims: false }), [hidden, head]);
  all.forEach((gradient, i) => g.output(`gradient_${i}`, gradient));
  const session = await openSession({ graph: g.finish(), threads });
  const values = await session.run(feeds);
  await session.close();
  return ['logps', 'gradient_0', 'gradient_1'].map((name) => values[name]!.data as Float32Array);
}

test.each([undefined, 3])(
  'a soft cap of %s: the vocabulary in chunks gives the same as the whole of it',
  async (cap) => {
    const whole = await results(vocabulary, cap, 1);
    for (const rows of [7, 8, 39]) {
      const chunked = await results(rows, cap, 1);
      // The sum over the vocabulary has another order and is rescaled when the maximum rises.
      chunked.forEach((values, i) =>
        values.forEach((value, at) => expect(Math.abs(value - whole[i]![at]!)).toBeLessThan(2e-6)),
      );
      expect(await results(rows, cap, 2)).toEqual(chunked);
    }
  },
);
