import { loraLayout, parseConfig, type LoraSettings } from '@pairwise/model';
import { readMetadata, readSafetensors, writeSafetensors } from '@pairwise/safetensors';
import { digestOf } from '@pairwise/fingerprint';
import { expect, test } from 'vitest';
import {
  adapterParameters,
  adapterTensors,
  packState,
  unpackState,
  uniformStream,
  type OptimizerState,
} from './index.ts';

const config = parseConfig({
  architectures: ['LlamaForCausalLM'],
  hidden_size: 16,
  intermediate_size: 24,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  vocab_size: 10,
  max_position_embeddings: 64,
  hidden_act: 'silu',
});
const lora: LoraSettings = {
  r: 2,
  loraAlpha: 4,
  targetModules: ['q_proj', 'k_proj', 'o_proj', 'down_proj'],
  useRslora: false,
};
const layout = loraLayout(config, lora);

function someState(): OptimizerState {
  const uniform = uniformStream(1, 'state');
  const vectors = () => layout.map(({ size }) => Float32Array.from({ length: size }, () => uniform() - 0.5));
  return { step: 17, parameters: vectors(), firstMoments: vectors(), secondMoments: vectors() };
}

test('a packed state unpacks bit for bit, and the same state gives the same bytes', () => {
  const state = someState();
  // Numbers that a detour through text or float64 arithmetic would lose.
  state.parameters[0]!.set([-0, 1e-45, 3.4e38, 0.1]);
  const bytes = packState(state);
  expect(unpackState(bytes, layout)).toEqual(state);
  expect(Object.is(unpackState(bytes, layout).parameters[0]![0], -0)).toBe(true);
  expect(packState(unpackState(bytes, layout))).toEqual(bytes);
});

test('every part of the state changes the bytes', () => {
  const digests = new Set([digestOf(packState(someState()))]);
  const changes: ((state: OptimizerState) => void)[] = [
    (state) => (state.step += 1),
    (state) => (state.parameters[1]![3]! += 1),
    (state) => (state.firstMoments[0]![2]! += 1),
    (state) => (state.secondMoments[1]![0]! += 1),
  ];
  for (const change of changes) {
    const state = someState();
    change(state);
    digests.add(digestOf(packState(state)));
  }
  expect(digests.size).toBe(1 + changes.length);
});

test('a checkpoint of another adapter, model or format is refused', () => {
  const bytes = packState(someState());
  const refused = (reason: string) => expect.objectContaining({ reason }) as Error;
  expect(() => unpackState(bytes, loraLayout(config, { ...lora, r: 3 }))).toThrow(refused('WRONG_SHAPE'));
  expect(() => unpackState(bytes, layout.slice(1))).toThrow(refused('WRONG_SHAPE'));
  const tensors = [...readSafetensors(bytes)].map(([name, { shape, data }]) => ({
    name,
    dtype: 'F32' as const,
    shape,
    data,
  }));
  const written = (metadata: Record<string, string>) => writeSafetensors(tensors, metadata);
  const metadata = readMetadata(bytes);
  expect(unpackState(written(metadata), layout).step).toBe(17);
  for (const step of ['', '-1', '1.5', 'NaN', '9007199254740993', '1e3']) {
    expect(() => unpackState(written({ ...metadata, step }), layout), step).toThrow(refused('INVALID_FILE'));
  }
  expect(() => unpackState(written({ ...metadata, format: 'other' }), layout)).toThrow(refused('INVALID_FILE'));
  expect(() => unpackState(written({}), layout)).toThrow(refused('INVALID_FILE'));
  expect(() => unpackState(bytes.subarray(0, bytes.length - 4), layout)).toThrow(refused('INVALID_FILE'));
});

test('an adapter has the names and shapes of PEFT and is restored from them', () => {
  const { parameters } = someState();
  const tensors = adapterTensors(layout, parameters);
  expect(tensors.slice(0, 2).map(({ name, shape }) => [name, shape])).toEqual([
    ['base_model.model.model.layers.0.mlp.down_proj.lora_A.weight', [2, 24]],
    ['base_model.model.model.layers.0.mlp.down_proj.lora_B.weight', [16, 2]],
  ]);
  expect(tensors).toHaveLength(2 * 4 * 2);
  const read = new Map(tensors.map(({ name, shape, data }) => [name, { shape, data }]));
  expect(adapterParameters(layout, read)).toEqual(parameters);
  const [first] = tensors;
  read.set(first!.name, { shape: [24, 2], data: first!.data });
  expect(() => adapterParameters(layout, read)).toThrow('is not a float32 tensor of [2, 24]');
  read.delete(first!.name);
  expect(() => adapterParameters(layout, read)).toThrow(`the adapter does not contain ${first!.name}`);
});
