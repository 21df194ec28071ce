import { describe, expect, test } from 'vitest';
import { parseConfig } from './config.ts';
import { checkTensors, expectedTensors, linearShape, parameterCount, type Weight } from './tensors.ts';

const json = {
  architectures: ['LlamaForCausalLM'],
  hidden_size: 8,
  intermediate_size: 12,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 4,
  vocab_size: 11,
  max_position_embeddings: 64,
};
const untied = parseConfig(json);
const tied = parseConfig({ ...json, tie_word_embeddings: true });

function weightsOf(config: typeof untied): Weight[] {
  return [...expectedTensors(config)].map(([name, shape]) => ({
    name,
    shape,
    dtype: 'F32',
    file: 'model.safetensors',
    offset: 0,
    length: 4 * shape.reduce((a, b) => a * b, 1),
  }));
}

/** The weights with one of them changed, or removed if `change` is undefined. */
function changed(name: string, change: Partial<Weight> | undefined): Weight[] {
  return weightsOf(untied).flatMap((weight) => {
    if (weight.name !== name) return [weight];
    return change === undefined ? [] : [{ ...weight, ...change }];
  });
}

const refusal = (reason: string, text: string, tensor: string) =>
  expect.objectContaining({
    reason,
    message: expect.stringContaining(text) as string,
    metadata: { tensor },
  }) as Error;

describe('the tensors that a config requires', () => {
  test('have the names and shapes of transformers, with grouped heads', () => {
    const tensors = expectedTensors(untied);
    expect(tensors.size).toBe(1 + 2 * 9 + 2);
    expect(Object.fromEntries([...tensors].filter(([name]) => !name.includes('layers.1')))).toEqual({
      'model.embed_tokens.weight': [11, 8],
      'model.layers.0.input_layernorm.weight': [8],
      'model.layers.0.post_attention_layernorm.weight': [8],
      'model.layers.0.self_attn.q_proj.weight': [16, 8],
      'model.layers.0.self_attn.k_proj.weight': [8, 8],
      'model.layers.0.self_attn.v_proj.weight': [8, 8],
      'model.layers.0.self_attn.o_proj.weight': [8, 16],
      'model.layers.0.mlp.gate_proj.weight': [12, 8],
      'model.layers.0.mlp.up_proj.weight': [12, 8],
      'model.layers.0.mlp.down_proj.weight': [8, 12],
      'model.norm.weight': [8],
      'lm_head.weight': [11, 8],
    });
    expect(linearShape(untied, 'o_proj')).toEqual([8, 16]);
  });

  test('do not include lm_head if the embeddings are tied', () => {
    expect(expectedTensors(tied).has('lm_head.weight')).toBe(false);
    expect(parameterCount(untied) - parameterCount(tied)).toBe(88);
    expect(parameterCount(tied)).toBe(88 + 2 * (2 * 8 + 2 * 128 + 2 * 64 + 3 * 96) + 8);
  });
});

describe('a base model', () => {
  test('with all tensors is accepted, in any order and mix of float dtypes', () => {
    const weights = weightsOf(untied).reverse();
    weights[0]!.dtype = 'BF16';
    weights[1]!.dtype = 'F16';
    expect(checkTensors(untied, weights).size).toBe(weights.length);
  });

  test.each([...expectedTensors(untied).keys()].filter((name) => !name.includes('layers.0')))(
    'without %s is refused',
    (name) => {
      const missing = refusal('MISSING_TENSOR', `the tensor '${name}' is missing`, name);
      expect(() => checkTensors(untied, changed(name, undefined))).toThrow(missing);
    },
  );

  test.each([
    ['model.norm.weight', [9], '[9]; config.json requires [8]'],
    ['model.norm.weight', [1, 8], '[1, 8]; config.json requires [8]'],
    ['model.norm.weight', [], '[]; config.json requires [8]'],
    ['model.layers.1.self_attn.k_proj.weight', [16, 8], '[16, 8]; config.json requires [8, 8]'],
    ['model.layers.1.mlp.down_proj.weight', [12, 8], '[12, 8]; config.json requires [8, 12]'],
    ['lm_head.weight', [11, 9], '[11, 9]; config.json requires [11, 8]'],
  ])('whose %s has the shape %j is refused', (name, shape, text) => {
    expect(() => checkTensors(untied, changed(name, { shape }))).toThrow(refusal('WRONG_SHAPE', text, name));
  });

  test.each(['F64', 'I8', 'U8', 'I64', 'BOOL'] as const)('with weights stored as %s is refused', (dtype) => {
    const name = 'model.layers.0.mlp.up_proj.weight';
    const unsupported = refusal('INVALID_MODEL', `is stored as ${dtype}`, name);
    expect(() => checkTensors(untied, changed(name, { dtype }))).toThrow(unsupported);
  });

  test.each([
    'model.layers.0.self_attn.q_proj.bias',
    'model.layers.2.mlp.up_proj.weight',
    'model.layers.0.self_attn.q_norm.weight',
    'model.layers.0.self_attn.q_proj.weight_scale',
    'constructor',
  ])('with the unexpected tensor %s is refused', (name) => {
    const stranger: Weight = { ...weightsOf(untied)[0]!, name };
    const refused = refusal('INVALID_MODEL', 'of model.safetensors does not belong to a LlamaForCausalLM', name);
    expect(() => checkTensors(untied, [...weightsOf(untied), stranger])).toThrow(refused);
  });

  test('with a tensor in two files is refused', () => {
    const [first, ...rest] = weightsOf(untied);
    const twice = refusal('INVALID_MODEL', 'is in model.safetensors and in other.safetensors', first!.name);
    expect(() => checkTensors(untied, [first!, ...rest, { ...first!, file: 'other.safetensors' }])).toThrow(twice);
  });

  test('with a tied head may contain an unused lm_head and rotary frequencies', () => {
    const [embedding, ...rest] = weightsOf(tied);
    const head: Weight = { ...embedding!, name: 'lm_head.weight' };
    const rotary: Weight = { ...embedding!, name: 'model.layers.0.self_attn.rotary_emb.inv_freq', shape: [2] };
    expect(checkTensors(tied, [embedding!, head, rotary, ...rest]).get('lm_head.weight')).toBe(head);
    expect(checkTensors(tied, [embedding!, ...rest]).has('lm_head.weight')).toBe(false);
  });

  test('with an untied head needs an lm_head', () => {
    const missing = refusal('MISSING_TENSOR', 'lm_head.weight', 'lm_head.weight');
    expect(() => checkTensors(untied, weightsOf(tied))).toThrow(missing);
  });
});
