import { expect, test } from 'vitest';
import {
  adaptedModules,
  initialLora,
  loraLayout,
  loraScale,
  mergeLora,
  parseConfig,
  targetModules,
  type LinearModule,
} from './index.ts';

const config = parseConfig({
  architectures: ['LlamaForCausalLM'],
  hidden_size: 16,
  intermediate_size: 24,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  vocab_size: 100,
  max_position_embeddings: 64,
  hidden_act: 'silu',
});
const all: LinearModule[] = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'];
const lora = (targetModules: LinearModule[] = all) => ({ r: 2, loraAlpha: 6, targetModules, useRslora: false });

test.each<LinearModule[][]>([[all], [['v_proj']], [['q_proj', 'up_proj', 'down_proj']]])(
  'the flat vectors hold each factor of %j once, without gaps',
  (modules) => {
    const layout = loraLayout(config, lora(modules));
    expect(layout.map(({ feed }) => feed)).toEqual(['lora_0', 'lora_1']);
    for (const { entries, size } of layout) {
      expect(entries).toHaveLength(2 * modules.length);
      expect(new Set(entries.map(({ name }) => name)).size).toBe(entries.length);
      const end = entries.reduce((at, { offset, shape }) => {
        expect(offset).toBe(at);
        return at + shape[0] * shape[1];
      }, 0);
      expect(size).toBe(end);
    }
  },
);

test('in a new adapter A is uniform within 1/sqrt(in) and B is zero, so that it changes nothing', () => {
  let state = 0;
  const uniform = () => (state = (state + 0.6180339887) % 1);
  const layout = loraLayout(config, lora());
  initialLora(layout, uniform).forEach((vector, layer) => {
    for (const { name, shape, offset } of layout[layer]!.entries) {
      const values = vector.subarray(offset, offset + shape[0] * shape[1]);
      if (name.endsWith('.lora_B.weight')) {
        expect(values.every((value) => value === 0)).toBe(true);
        continue;
      }
      const bound = 1 / Math.sqrt(shape[1]);
      expect(values.every((value) => Math.abs(value) <= bound)).toBe(true);
      // Uniform numbers come close to both ends: within a fifth of the range.
      expect(Math.max(...values)).toBeGreaterThan(0.8 * bound);
      expect(Math.min(...values)).toBeLessThan(-0.8 * bound);
    }
  });
});

test('the scale is alpha / r, or alpha / sqrt(r) if rank-stabilised', () => {
  expect(loraScale({ r: 16, loraAlpha: 32, targetModules: all, useRslora: false })).toBe(2);
  expect(loraScale({ r: 16, loraAlpha: 32, targetModules: all, useRslora: true })).toBe(8);
});

test('merging adds scale B A to the whole weight or to some of its rows', () => {
  const a = Float32Array.of(1, 2, 3, 4, 5, 6); // [2, 3]
  const b = Float32Array.of(1, 0, 0, 1, 1, 1, -1, 2); // [4, 2]
  const start = Float32Array.from({ length: 12 }, (_, index) => index);
  const product = [1, 2, 3, 4, 5, 6, 5, 7, 9, 7, 8, 9]; // B A, by hand
  const weight = start.slice();
  mergeLora(weight, a, b, 2, 0.5);
  expect([...weight]).toEqual(product.map((value, index) => index + 0.5 * value));
  const rows = start.slice(6);
  mergeLora(rows, a, b.subarray(4), 2, 0.5);
  expect(rows).toEqual(weight.slice(6));
});

test('a model is adapted where it is named, or everywhere if all names are', () => {
  expect(adaptedModules('LlamaForCausalLM', { targetModules })).toEqual(all);
  expect(adaptedModules('Phi3ForCausalLM', { targetModules })).toEqual([
    'qkv_proj',
    'o_proj',
    'gate_up_proj',
    'down_proj',
  ]);
  expect(adaptedModules('LlamaForCausalLM', { targetModules: ['v_proj', 'q_proj'] })).toEqual(['q_proj', 'v_proj']);
  expect(() => adaptedModules('Phi3ForCausalLM', { targetModules: ['q_proj', 'o_proj'] }, 'spec.x')).toThrow(
    'spec.x names q_proj, which a Phi3ForCausalLM does not have; it has qkv_proj, o_proj, gate_up_proj, down_proj',
  );
});
