import {
  adaptedModules,
  declaredBaseModel,
  linearShape,
  parseConfig,
  targetModules,
  type LoraSettings,
  type ModelConfig,
} from '@pairwise/model';
import type { Graph, Node } from '@pairwise/onnx';
import { expect, test } from 'vitest';
import { dpoGraph, forwardOperations, referenceGraph, trainingOperations, workSize } from './index.ts';

const sizes = {
  hidden_size: 48,
  intermediate_size: 80,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 512,
  vocab_size: 300,
};
const llama = parseConfig({ ...sizes, architectures: ['LlamaForCausalLM'] });
const qwenMoe = parseConfig({
  ...sizes,
  architectures: ['Qwen3MoeForCausalLM'],
  num_experts: 6,
  num_experts_per_tok: 2,
  moe_intermediate_size: 20,
  norm_topk_prob: true,
});
const work = { rows: 120, targets: 70 };

const baseOf = (config: ModelConfig) => declaredBaseModel(config, 'F32');

/** A size of the graph as a number. Each expert counts with its mean rows: the sum over the experts is the same. */
function valueOf(dim: string | number, { experts }: ModelConfig): number {
  if (typeof dim === 'number') return dim;
  const named = (name: string) => {
    if (/^\d+$/.test(name)) return Number(name);
    if (name === 'T') return work.rows;
    if (name === 'N') return work.targets;
    if (experts !== undefined && /\/\d+$/.test(name)) return (work.rows * experts.perToken) / experts.count;
    throw new Error(`the size ${name} is not expected`);
  };
  return dim.split('*').reduce((total, name) => total * named(name), 1);
}

/** The multiply-adds of the products that a graph consists of, apart from attention and the sums of the pairs' logps. */
function countedOperations({ nodes }: Graph, config: ModelConfig): number {
  const used = new Set(nodes.flatMap(({ inputs }) => inputs.map((input) => input?.name)));
  const own = ({ op, inputs, outputs, attributes }: Node): number => {
    const dims = [...inputs, ...outputs].flatMap((value) => value?.shape ?? []);
    if (op === 'TargetLogps') {
      const head = inputs[1]!.shape as number[];
      // The logits, and where the slope is used also the weighted sum of the head's rows.
      return work.targets * head[0]! * head[1]! * (used.has(outputs[1]!.name) ? 2 : 1);
    }
    if ((op !== 'Gemm' && op !== 'MatMul') || dims.includes('P')) return 0;
    const inner = op === 'Gemm' && attributes.transA === 1 ? inputs[0]!.shape[0]! : inputs[0]!.shape.at(-1)!;
    return [...outputs[0]!.shape, inner].reduce((total: number, dim) => total * valueOf(dim, config), 1);
  };
  return nodes.reduce((total, node) => total + own(node), 0);
}

test.each([
  ['Llama', llama],
  ['Qwen3 with experts', qwenMoe],
])('%s: a forward pass has as many operations as its graph', (_, config) => {
  expect(forwardOperations(config, work)).toBe(countedOperations(referenceGraph(baseOf(config)), config));
});

const adapters: [string, LoraSettings][] = [
  ['all modules', { r: 4, loraAlpha: 8, targetModules, useRslora: false }],
  ['two modules', { r: 3, loraAlpha: 8, targetModules: ['q_proj', 'v_proj'], useRslora: false }],
];
test.each(adapters.flatMap(([name, lora]) => [llama, qwenMoe].map((config) => [name, config, lora] as const)))(
  'training %s of $architecture: a micro-batch has as many operations as its graph',
  (_, config, lora) => {
    const adapted = adaptedModules(config.architecture, lora);
    // Nothing below the first layer needs a gradient, so its first products have none of their input.
    const missing = (['q_proj', 'k_proj', 'v_proj'] as const).map((module) => {
      const [outputs, inputs] = linearShape(config, module);
      return work.rows * inputs * (outputs + (adapted.includes(module) ? lora.r : 0));
    });
    const firstInputs = missing.reduce((a, b) => a + b);
    const count = (activationCheckpointing: 'cheap' | 'layers') =>
      countedOperations(dpoGraph(baseOf(config), lora, 'sigmoid', { activationCheckpointing }), config);
    expect(trainingOperations(config, lora, work, 'cheap')).toBe(count('cheap') + firstInputs);
    const ratio = trainingOperations(config, lora, work, 'layers') / (count('layers') + firstInputs);
    // The router's part of the experts is not counted exactly.
    if (config.experts === undefined) expect(ratio).toBe(1);
    else expect(Math.abs(ratio - 1)).toBeLessThan(0.05);
  },
);

test('Llama by hand', () => {
  // Per row and layer: q and o 48 x 48, k and v 24 x 48, the MLP 3 x 80 x 48; per target the head, 300 x 48.
  const linear = 3 * (2 * 48 * 48 + 2 * 24 * 48 + 3 * 80 * 48);
  expect(forwardOperations(llama, { rows: 10, targets: 4 })).toBe(10 * linear + 4 * 300 * 48);
  // With q (48 to 48) and v (48 to 24) adapted with rank 3.
  const adapter = 3 * 3 * (48 + 48 + 48 + 24);
  const [, [, lora]] = adapters as [(typeof adapters)[0], (typeof adapters)[0]];
  expect(trainingOperations(llama, lora, { rows: 10, targets: 4 }, 'cheap')).toBe(
    10 * (2 * linear + 3 * adapter) + 2 * 4 * 300 * 48,
  );
});

test('a prompt goes through the layers once, and the last token of a response only through the head', () => {
  const pair = { prompt: Int32Array.of(1, 2, 3), chosen: Int32Array.of(4, 5), rejected: Int32Array.of(6, 7, 8, 9) };
  expect(workSize([pair])).toEqual({ rows: 3 + 1 + 3, targets: 2 + 4 });
  expect(workSize([pair, pair])).toEqual({ rows: 14, targets: 12 });
});
