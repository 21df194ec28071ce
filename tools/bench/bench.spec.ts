import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { sharedFolder } from '@pairwise/testing';
import { smolConfig } from './model.ts';
import { rowCount } from '@pairwise/model';
import { treeOf } from '@pairwise/training';
import { benchPairs, longPair } from './pairs.ts';

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
      expect(ids.every((id) => id >= 0 && id < smolConfig.vocab_size)).toBe(true);
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

test('--checkpoint all is refused before any work is done', () => {
  const program = join(import.meta.dirname, 'main.ts');
  const { status, stderr } = spawnSync(process.execPath, [program, '--checkpoint=all'], { encoding: 'utf8' });
  expect([status, stderr]).toEqual([2, '--checkpoint is all; it must be cheap or layers\n']);
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
