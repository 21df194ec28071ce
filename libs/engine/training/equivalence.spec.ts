import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  initialLora,
  adaptedModules,
  linearName,
  targetModules,
  loraLayout,
  loraName,
  loraScale,
  mergeLora,
  packTrees,
  readBaseModel,
  targetCount,
  type Feed,
  type LinearModule,
  type LoraSettings,
  type TokenTree,
} from '@pairwise/model';
import {
  bfloat16ToFloat32,
  float16ToFloat32,
  float32ToBfloat16,
  float32ToFloat16,
  readSafetensors,
  writeSafetensors,
  type TensorData,
} from '@pairwise/safetensors';
import { beforeAll, expect, test } from 'vitest';
import { folderAt } from '@pairwise/model/testing';
import { openSession, type Session } from '@pairwise/ort';
import {
  adapterFeeds,
  crossEntropyGraph,
  dpoGraph,
  dpoStep,
  policyGraph,
  referenceGraph,
  treeLogps,
  treeOf,
  uniformStream,
} from './index.ts';
import { lora as tinyLora, tinySetting, tinyState, type TinySetting } from './testing.ts';

let tiny: TinySetting;
let trees: TokenTree[];

beforeAll(async () => {
  tiny = await tinySetting();
  trees = tiny.task().pairs.map(treeOf);
  return () => tiny.close();
});

const apart = (list: readonly TokenTree[]) =>
  list.flatMap(({ prefix, branches }) => branches.map((branch): TokenTree => ({ prefix, branches: [branch] })));

function largestDifference(a: readonly Float32Array[], b: readonly Float32Array[]): number {
  expect(a.map(({ length }) => length)).toEqual(b.map(({ length }) => length));
  return Math.max(...a.flatMap((vector, i) => Array.from(vector, (value, j) => Math.abs(value - b[i]![j]!))));
}

/** Full gradients of the sum of -weight log p over trees that are packed together. */
async function gradients(session: Session, list: readonly TokenTree[], weights: readonly number[]) {
  const { feeds, targetCount: count, branches } = packTrees(list, tiny.base.config);
  const tokenWeights = new Float32Array(count);
  branches.forEach(({ start, end }, index) => tokenWeights.fill(weights[index]!, start, end));
  const tensors = readSafetensors(readFileSync(join(tiny.folder, 'model.safetensors')));
  const parameters = [...tensors].map(([name, { shape, data }]): [string, Feed] => [
    name,
    { dtype: 'float32', dims: shape, data: data as Float32Array },
  ]);
  const token_weights: Feed = { dtype: 'float32', dims: [count], data: tokenWeights };
  const results = await session.run({ ...feeds, ...Object.fromEntries(parameters), token_weights });
  return parameters.map(([name]) => results[`gradient/${name}`]!.data as Float32Array);
}

test('gradients of all parameters are the same packed or one by one, with shared or repeated prompts', async () => {
  const session = await tiny.open(crossEntropyGraph(tiny.base.config));
  const weights = trees.flatMap((_, index) => [0.1 * (index + 1), -0.05 * (index + 2)]);
  const packed = await gradients(session, trees, weights);
  const sum = packed.map(({ length }) => new Float32Array(length));
  for (const [index, tree] of trees.entries()) {
    const alone = await gradients(session, [tree], weights.slice(2 * index, 2 * index + 2));
    alone.forEach((vector, at) => vector.forEach((value, i) => (sum[at]![i]! += value)));
  }
  const largest = Math.max(...packed.map((vector) => Math.max(...vector.map(Math.abs))));
  // Sums over about 200 tokens in a different order: at most 200 roundings of float32.
  const tolerance = 200 * 6e-8 * largest;
  expect(largestDifference(packed, sum)).toBeLessThan(tolerance);
  expect(largestDifference(packed, await gradients(session, apart(trees), weights))).toBeLessThan(tolerance);
});

test('logps are the same for any packing and order, with shared or repeated prompts', async () => {
  const session = await tiny.open(referenceGraph(tiny.base));
  const { config } = tiny.base;
  const logps = async (list: readonly TokenTree[]) => (await treeLogps(session.run, config, list)).flat();
  const packed = await logps(trees);
  expect(packed.map(({ length }) => length)).toEqual(trees.flatMap(({ branches }) => branches.map((b) => b.length)));
  expect(packed.flatMap((each) => [...each])).toHaveLength(trees.reduce((sum, each) => sum + targetCount(each), 0));
  const alone: Float32Array[] = [];
  for (const tree of trees) alone.push(...(await logps([tree])));
  // A logp is about -6 with a rounding of 5e-7; the order of additions in attention changes a few of them.
  const tolerance = 5e-6;
  expect(largestDifference(alone, packed)).toBeLessThan(tolerance);
  expect(largestDifference(await logps(apart(trees)), packed)).toBeLessThan(tolerance);
  const turned = (
    await logps([...trees].reverse().map((each) => ({ ...each, branches: [...each.branches].reverse() })))
  ).reverse();
  expect(largestDifference(turned, packed)).toBeLessThan(tolerance);
});

test('no token sees another pair, the other response or a later token', async () => {
  const session = await tiny.open(referenceGraph(tiny.base));
  const { config } = tiny.base;
  const [first, second, third] = trees.slice(0, 3) as [TokenTree, TokenTree, TokenTree];
  const logps = async (changed: TokenTree) => (await treeLogps(session.run, config, [first, changed, third])).flat();
  const plain = await logps(second);
  const [chosen, rejected] = second.branches as [Int32Array, Int32Array];
  const last = rejected.length - 1;
  const changed = await logps({ ...second, branches: [chosen, rejected.with(last, (rejected[last]! + 1) % 256)] });
  // The positions in the matrices are the same, so the bits are too, up to the one token that changed.
  expect(changed[3]!.slice(0, last)).toEqual(plain[3]!.slice(0, last));
  expect(changed[3]![last]).not.toBe(plain[3]![last]);
  for (const other of [0, 1, 2, 4, 5]) expect(changed[other]).toEqual(plain[other]);
  const prompt = await logps({ ...second, prefix: second.prefix.with(0, (second.prefix[0]! + 1) % 256) });
  for (const own of [2, 3]) expect(prompt[own]).not.toEqual(plain[own]);
  for (const other of [0, 1, 4, 5]) expect(prompt[other]).toEqual(plain[other]);
});

test.each<[string, Partial<LoraSettings>]>([
  ['all layers', {}],
  ['some layers', { targetModules: ['k_proj', 'o_proj', 'up_proj'] }],
  ['rank-stabilised', { useRslora: true, loraAlpha: 5, r: 3 }],
])('an adapter gives the same logps applied or merged into the weights: %s', async (name, change) => {
  const modules = adaptedModules('LlamaForCausalLM', { targetModules });
  const lora: LoraSettings = { r: 4, loraAlpha: 6, targetModules: modules, useRslora: false, ...change };
  const { config } = tiny.base;
  const layout = loraLayout(config, lora);
  const uniform = uniformStream(2, name);
  const parameters = initialLora(layout, uniform);
  for (const vector of parameters) vector.forEach((value, i) => (vector[i] = value + 0.3 * (uniform() - 0.5)));
  const policy = await tiny.open(policyGraph(tiny.base, lora));
  const applied = (await treeLogps(policy.run, config, trees, adapterFeeds(layout, parameters))).flat();

  const tensors = readSafetensors(readFileSync(join(tiny.folder, 'model.safetensors')));
  const factor = (layer: number, module: LinearModule, which: 'A' | 'B') => {
    const { shape, offset } = layout[layer]!.entries.find((entry) => entry.name === loraName(layer, module, which))!;
    return parameters[layer]!.subarray(offset, offset + shape[0] * shape[1]);
  };
  for (const [layer] of layout.entries()) {
    for (const module of lora.targetModules) {
      const weight = tensors.get(linearName(layer, module))!.data as Float32Array;
      mergeLora(weight, factor(layer, module, 'A'), factor(layer, module, 'B'), lora.r, loraScale(lora));
    }
  }
  const file = `merged-${name}.safetensors`.replace(' ', '-');
  const written = [...tensors].map(([tensor, { shape, data }]) => ({
    name: tensor,
    dtype: 'F32' as const,
    shape,
    data,
  }));
  writeFileSync(join(tiny.folder, file), writeSafetensors(written));
  const { weights } = await readBaseModel(await folderAt(tiny.folder));
  const merged = {
    ...tiny.base,
    weights: new Map([...weights].map(([tensor, weight]) => [tensor, { ...weight, file }])),
  };
  const session = await tiny.open(referenceGraph(merged));
  const fused = (await treeLogps(session.run, config, trees)).flat();
  const plain = await tiny.open(referenceGraph(tiny.base));
  const untouched = (await treeLogps(plain.run, config, trees)).flat();
  expect(largestDifference(untouched, applied)).toBeGreaterThan(0.05);
  // Merging rounds the weights to float32 once more: 6e-8 of each product, summed over two layers of up to 64 inputs.
  expect(largestDifference(fused, applied)).toBeLessThan(2e-5);
});

test.each([
  ['F16', float32ToFloat16, float16ToFloat32],
  ['BF16', float32ToBfloat16, bfloat16ToFloat32],
] as const)('%s weights train an adapter like their float32 values, to the last bit', async (dtype, pack, unpack) => {
  const bits = [...readSafetensors(readFileSync(join(tiny.folder, 'model.safetensors')))].map(
    ([name, { shape, data }]) => ({ name, shape, data: pack(data as Float32Array) }),
  );
  const train = async (tensors: readonly TensorData[]) => {
    const folder = join(tiny.folder, `${dtype}-${tensors[0]!.dtype}`);
    mkdirSync(folder);
    copyFileSync(join(tiny.folder, 'config.json'), join(folder, 'config.json'));
    writeFileSync(join(folder, 'model.safetensors'), writeSafetensors(tensors));
    const graph = dpoGraph(await readBaseModel(await folderAt(folder)), tinyLora, 'sigmoid');
    const session = await openSession({ graph, folder, threads: 1 });
    const task = tiny.task({ batchSize: 4 });
    const state = tinyState(task, 0.2);
    const metrics = [await dpoStep(session.run, task, state), await dpoStep(session.run, task, state)];
    await session.close();
    return { metrics, state };
  };
  const narrow = await train(bits.map((tensor) => ({ ...tensor, dtype })));
  expect(narrow).toEqual(await train(bits.map((tensor) => ({ ...tensor, dtype: 'F32', data: unpack(tensor.data) }))));
});

test('activation checkpointing per layer gives the same bits', async () => {
  const lora: LoraSettings = { r: 4, loraAlpha: 8, targetModules, useRslora: false };
  const task = { ...tiny.task({ batchSize: 11 }), layout: loraLayout(tiny.base.config, lora) };
  const step = async (activationCheckpointing: 'cheap' | 'layers') => {
    const session = await tiny.open(dpoGraph(tiny.base, lora, 'sigmoid', { activationCheckpointing }));
    const state = tinyState(task, 0.2);
    return { metrics: await dpoStep(session.run, task, state), parameters: state.parameters };
  };
  expect(await step('layers')).toEqual(await step('cheap'));
});

test('a layer is recomputed only after the gradient of the layers above it', () => {
  const graph = dpoGraph(tiny.base, tinyLora, 'sigmoid', { activationCheckpointing: 'layers' });
  const producers = new Map(graph.nodes.flatMap((node) => node.outputs.map(({ name }) => [name, node])));
  const before = new Map<string, Set<string>>();
  for (const { name, inputs } of graph.nodes) {
    const direct = inputs.flatMap((input) => producers.get(input?.name ?? '')?.name ?? []);
    before.set(name, new Set(direct.flatMap((each) => [each, ...before.get(each)!])));
  }
  const products = (weight: string, transB: number) =>
    graph.nodes
      .filter(({ op, inputs, attributes }) => {
        return op === 'Gemm' && inputs[1]!.name === weight && attributes.transB === transB;
      })
      .map(({ name }) => name);
  const { layerCount } = tiny.base.config;
  expect(layerCount).toBeGreaterThan(1);
  for (let layer = 0; layer < layerCount; layer++) {
    for (const module of ['q_proj', 'o_proj', 'gate_proj', 'up_proj'] as const) {
      const [, again, ...more] = products(linearName(layer, module), 1);
      expect(more).toEqual([]);
      if (layer === layerCount - 1) expect([...before.get(again!)!].join()).toMatch(/TargetLogps/);
      else for (const name of products(linearName(layer + 1, 'q_proj'), 0)) expect(before.get(again!)).toContain(name);
    }
    // The end of a layer is kept, so its last product is needed once.
    expect(products(linearName(layer, 'down_proj'), 1)).toHaveLength(1);
  }
});
