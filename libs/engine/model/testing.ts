import { open, readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { graphBuilder } from '@pairwise/onnx';
import { expect } from 'vitest';
import { openSession, type Session } from '@pairwise/ort';
import {
  frozenWeights,
  packedInputs,
  packTrees,
  plainLinears,
  readBaseModel,
  tokenLogps,
  type ModelConfig,
  type TokenTree,
} from './index.ts';
import type { ModelFolder } from '@pairwise/safetensors';

/** For specs: a model folder on disk. */
export async function folderAt(path: string): Promise<ModelFolder> {
  const names = await readdir(path);
  return {
    files: await Promise.all(
      names.map(async (name) => ({ path: name, sizeBytes: (await stat(join(path, name))).size })),
    ),
    read: async (name, start, end) => {
      await using file = await open(join(path, name));
      const bytes = new Uint8Array(end - start);
      await file.read(bytes, 0, bytes.length, start);
      return bytes;
    },
  };
}

/** For specs: the forward graph of a model folder, in a session. */
export async function openForward(path: string): Promise<{ config: ModelConfig; session: Session }> {
  const base = await readBaseModel(await folderAt(path));
  const { config } = base;
  const g = graphBuilder('forward');
  const weight = frozenWeights(g, base);
  const linears = plainLinears(g, config, weight);
  g.output('token_logps', tokenLogps(g, config, packedInputs(g, config), { weight, linears }));
  return { config, session: await openSession({ graph: g.finish(), folder: path, threads: 1 }) };
}

/** For specs: logps of every branch of every tree, in order. */
export async function logps(session: Session, config: ModelConfig, trees: TokenTree[]): Promise<Float32Array[]> {
  const { feeds, branches } = packTrees(trees, config);
  const results = await session.run(feeds);
  const all = results['token_logps']!.data as Float32Array;
  return branches.map(({ start, end }) => all.slice(start, end));
}

/** For specs: the largest difference between lists of the same lengths. */
export function largestDifference(got: Float32Array[], wanted: number[][]): number {
  expect(got.map(({ length }) => length)).toEqual(wanted.map(({ length }) => length));
  return Math.max(...got.flatMap((row, i) => [...row].map((value, j) => Math.abs(value - wanted[i]![j]!))));
}

/** For specs: the logps of a folder's model on the texts of its `golden_logps.json`, and those in the file. */
export async function goldenLogps(path: string): Promise<{ got: Float32Array[]; wanted: number[][] }> {
  const golden = JSON.parse(await readFile(join(path, 'golden_logps.json'), 'utf8')) as {
    token_ids: number[][];
    token_logps: number[][];
  };
  const trees = golden.token_ids.map(([first, ...rest]) => ({
    prefix: Int32Array.of(first!),
    branches: [Int32Array.from(rest)],
  }));
  const { config, session } = await openForward(path);
  const got = await logps(session, config, trees);
  await session.close();
  return { got, wanted: golden.token_logps };
}

/** For specs: expects a folder's model to give the logps of its `golden_logps.json`. */
export async function expectGoldenLogps(path: string): Promise<void> {
  const { got, wanted } = await goldenLogps(path);
  // transformers' own float32 and float64 differ by about 1e-6; 1e-4 leaves room for another order of additions.
  expect(largestDifference(got, wanted)).toBeLessThan(1e-4);
}
