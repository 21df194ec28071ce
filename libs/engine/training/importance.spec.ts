import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { linearName } from '@pairwise/model';
import { readSafetensors } from '@pairwise/safetensors';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { adapterFeeds, importanceGraph, linearImportance, type RunGraph } from './index.ts';
import { lora, tinySetting, tinyState, type TinySetting } from './testing.ts';

let tiny: TinySetting;
let run: RunGraph;
beforeAll(async () => {
  tiny = await tinySetting();
  ({ run } = await tiny.open(importanceGraph(tiny.base, undefined)));
});
afterAll(() => tiny.close());

const treesOf = () => tiny.task().pairs.map(({ prompt, chosen }) => ({ prefix: prompt, branches: [chosen] }));

test('the first layer reads its norm of the embeddings of all tokens but the last of each text', async () => {
  const { config } = tiny.base;
  const tensors = readSafetensors(await readFile(join(tiny.folder, 'model.safetensors')));
  const [embedding, norm] = ['model.embed_tokens.weight', 'model.layers.0.input_layernorm.weight'].map(
    (name) => tensors.get(name)!.data as Float32Array,
  );
  const width = config.hiddenSize;
  const tokens = treesOf().flatMap(({ prefix, branches }) => [...prefix, ...branches[0]!.slice(0, -1)]);
  const expected = new Float64Array(width);
  for (const token of tokens) {
    const row = embedding!.subarray(token * width, (token + 1) * width);
    const meanSquare = row.reduce((sum, x) => sum + x * x, 0) / width + config.normEpsilon;
    row.forEach((x, i) => (expected[i]! += (x * norm![i]!) ** 2 / meanSquare / tokens.length));
  }
  const found = await linearImportance(run, config, treesOf());
  expect(found.size).toBe(7 * config.layerCount);
  for (const module of ['q_proj', 'k_proj', 'v_proj'] as const) {
    found.get(linearName(0, module))!.forEach((x, i) => expect(x).toBeCloseTo(expected[i]!, 5));
  }
  expect(found.get(linearName(1, 'down_proj'))).toHaveLength(config.intermediateSize);
});

test('the adapter counts', async () => {
  const { config } = tiny.base;
  const task = tiny.task();
  const tuned = await tiny.open(importanceGraph(tiny.base, lora));
  const [plain, unchanged, moved] = [
    await linearImportance(run, config, treesOf()),
    await linearImportance(tuned.run, config, treesOf(), adapterFeeds(task.layout, tinyState(task).parameters)),
    await linearImportance(tuned.run, config, treesOf(), adapterFeeds(task.layout, tinyState(task, 1).parameters)),
  ];
  for (const [name, values] of plain) unchanged.get(name)!.forEach((x, i) => expect(x).toBeCloseTo(values[i]!, 5));
  const last = linearName(1, 'down_proj');
  expect(Math.abs(moved.get(last)![0]! - plain.get(last)![0]!)).toBeGreaterThan(1e-3);
});
