import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { sharedFolder } from '@pairwise/testing';
import { expectedTensors, parameterCount, parseConfig, rowCount } from '@pairwise/model';
import { treeOf } from '@pairwise/training';
import { benchPairs, longPair } from './pairs.ts';
import { layerProducts } from './products.ts';
import { randomConfig, type ShapeName } from './randomModel.ts';

const shared = sharedFolder();
afterEach(() => {
  vi.unstubAllEnvs();
});

const mean = (numbers: number[]) => numbers.reduce((a, b) => a + b, 0) / numbers.length;

async function meanLengths(count: number) {
  const { pairs, data } = await benchPairs(count);
  expect(pairs).toHaveLength(count);
  for (const pair of pairs) {
    for (const ids of [pair.prompt, pair.chosen, pair.rejected]) {
      expect(ids.length).toBeGreaterThan(0);
      expect(ids.every((id) => id >= 0 && id < 49152)).toBe(true);
    }
  }
  const lengths = (name: 'prompt' | 'chosen' | 'rejected') => mean(pairs.map((pair) => pair[name].length));
  return { data, prompt: lengths('prompt'), chosen: lengths('chosen'), rejected: lengths('rejected') };
}

test('without the reference material the pairs are random, equal in every run, and of similar length', async () => {
  vi.stubEnv('PAIRWISE_SHARED', join(import.meta.dirname, 'nowhere'));
  expect((await benchPairs(3)).pairs).toEqual((await benchPairs(3)).pairs);
  const { data, ...lengths } = await meanLengths(400);
  expect(data).toMatch(/synthetic/);
  // Lengths are exponential, cut at 4.6 means, so the mean of 400 has a standard deviation of 5 %.
  expect(Math.abs(lengths.prompt / 90 - 1)).toBeLessThan(0.15);
  expect(Math.abs(lengths.chosen / 37 - 1)).toBeLessThan(0.15);
  expect(Math.abs(lengths.rejected / 39 - 1)).toBeLessThan(0.15);
});

describe.skipIf(shared === undefined)('with the reference material', () => {
  test('the pairs are from hh-rlhf, and their lengths are within 5 % of those of SmolLM2’s tokenizer', async () => {
    const { data, ...lengths } = await meanLengths(40);
    expect(data).toMatch(/hh-rlhf/);
    // The real tokenizer gives 163 tokens and 74.5 targets per pair.
    expect(Math.abs((lengths.prompt + lengths.chosen + lengths.rejected - 2) / 163 - 1)).toBeLessThan(0.05);
    expect(Math.abs((lengths.chosen + lengths.rejected) / 74.5 - 1)).toBeLessThan(0.05);
  });
});

test('the long pair has 8,192 rows', () => {
  expect(rowCount(treeOf(longPair()))).toBe(8192);
});

test.each([
  ['135m', 134_515_008],
  ['1b', 1_235_814_400],
  ['8b', 8_030_261_248],
] as [ShapeName, number][])('the shape %s has %d parameters, as the published model has', (shape, count) => {
  expect(parameterCount(parseConfig(randomConfig(shape, 'bf16')))).toBe(count);
});

test('a layer’s products use each weight once in the reference pass and twice in training, and each LoRA factor three times', () => {
  const config = parseConfig(randomConfig('1b', 'bf16', 1));
  /** Multiplications for one row. */
  const multiplications = (r: number | undefined) => {
    const products = layerProducts(config, r).nodes.filter(({ op }) => op === 'Gemm');
    const perProduct = products.map(({ inputs: [a, b], outputs: [y], attributes }) => {
      const inner = a!.shape[attributes['transA'] === 1 ? 0 : 1]!;
      expect(b!.shape[attributes['transB'] === 1 ? 1 : 0]).toBe(inner);
      return [inner, ...y!.shape].map((dim) => (dim === 'T' ? 1 : (dim as number))).reduce((x, z) => x * z, 1);
    });
    return perProduct.reduce((x, z) => x + z, 0);
  };
  const linears = [...expectedTensors(config)].filter(([name]) => name.includes('_proj')).map(([, shape]) => shape);
  const weights = linears.reduce((sum, [out, width]) => sum + out! * width!, 0);
  const factors = linears.reduce((sum, [out, width]) => sum + 16 * (out! + width!), 0);
  expect(multiplications(undefined)).toBe(weights);
  expect(multiplications(16)).toBe(2 * weights + 3 * factors);
});

test.each([
  ['--model=7b', '--model is 7b; it must be 135m, 1b, or 8b'],
  ['--dtype=f16', '--dtype is f16; it must be bf16 or f32'],
  ['--base=int4', '--base is int4; it must be none, int8, or nf4'],
  ['--checkpoint=all', '--checkpoint is all; it must be cheap or layers'],
])('%s is refused before any work is done', (flag, problem) => {
  const program = join(import.meta.dirname, 'main.ts');
  const { status, stderr } = spawnSync(process.execPath, [program, flag], { encoding: 'utf8' });
  expect([status, stderr]).toEqual([2, `${problem}\n`]);
});

test('--layers 0 is refused before any work is done', () => {
  const program = join(import.meta.dirname, 'main.ts');
  const { status, stderr } = spawnSync(process.execPath, [program, 'export', '--layers=0'], { encoding: 'utf8' });
  expect([status, stderr]).toEqual([2, '--layers is 0; it must be a whole number above 0\n']);
});

test.each(['0', '-1', '1.5', 'many'])('--pairs %s is refused before any work is done', (value) => {
  const { status, stderr } = spawnSync(process.execPath, [join(import.meta.dirname, 'main.ts'), `--pairs=${value}`], {
    encoding: 'utf8',
  });
  expect([status, stderr]).toEqual([2, `--pairs is ${value}; it must be a whole number above 0\n`]);
});
