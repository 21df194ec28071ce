import { describe, expect, test } from 'vitest';
import { parseConfig } from './config.ts';

const base = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  hidden_size: 64,
  intermediate_size: 128,
  num_hidden_layers: 2,
  num_attention_heads: 8,
  num_key_value_heads: 4,
  head_dim: 8,
  vocab_size: 100,
  max_position_embeddings: 512,
  rms_norm_eps: 1e-5,
  hidden_act: 'silu',
  tie_word_embeddings: true,
};
const llama3 = { factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 64 };
const llama3Scaling = {
  type: 'llama3',
  factor: 8,
  lowFreqFactor: 1,
  highFreqFactor: 4,
  originalMaxPositionEmbeddings: 64,
};
const everything = { window: undefined, rotary: 0 };
const mistral = { ...base, architectures: ['MistralForCausalLM'] };

/** The config with some fields changed; undefined removes a field. */
const parse = (changes: Record<string, unknown>) =>
  parseConfig(JSON.parse(JSON.stringify({ ...base, ...changes })) as unknown);

function expectRefused(changes: Record<string, unknown>, reason: string, field: string): void {
  const matching = { reason, field, message: expect.stringContaining(field) as string };
  expect(() => parse(changes)).toThrow(expect.objectContaining(matching) as Error);
}

describe('a config.json of transformers', () => {
  test('reads the same in version 4 and 5', () => {
    const four = parse({
      rope_theta: 500000,
      rope_scaling: { rope_type: 'llama3', ...llama3 },
      torch_dtype: 'bfloat16',
    });
    const five = parse({ rope_parameters: { rope_theta: 500000, rope_type: 'llama3', ...llama3 }, dtype: 'bfloat16' });
    const older = parse({ rope_theta: 500000, rope_scaling: { type: 'llama3', ...llama3 } });
    expect(five).toEqual(four);
    expect(older).toEqual(four);
    expect(four).toEqual({
      architecture: 'LlamaForCausalLM',
      hiddenSize: 64,
      intermediateSize: 128,
      layerCount: 2,
      headCount: 8,
      kvHeadCount: 4,
      headDim: 8,
      vocabularySize: 100,
      maxLength: 512,
      normEpsilon: 1e-5,
      rotaries: [{ theta: 500000, dim: 8, scaling: llama3Scaling }],
      tieWordEmbeddings: true,
      biases: [],
      layers: [everything, everything],
      attentionScale: 1 / Math.sqrt(8),
      embeddingScale: 1,
      residualScale: 1,
      logitScale: 1,
      attentionSoftcap: undefined,
      logitSoftcap: undefined,
    });
  });

  test('may give the default rope in both styles', () => {
    const four = parse({ rope_theta: 20000, rope_scaling: null });
    expect(parse({ rope_parameters: { rope_theta: 20000, rope_type: 'default' } })).toEqual(four);
    expect(four.rotaries).toEqual([{ theta: 20000, dim: 8, scaling: undefined }]);
  });

  test('has the defaults of LlamaConfig for missing fields', () => {
    const optional = ['num_key_value_heads', 'head_dim', 'rms_norm_eps', 'tie_word_embeddings'];
    expect(parse(Object.fromEntries(optional.map((field) => [field, undefined])))).toMatchObject({
      kvHeadCount: 8,
      headDim: 8,
      normEpsilon: 1e-6,
      tieWordEmbeddings: false,
      rotaries: [{ theta: 10000, dim: 8, scaling: undefined }],
    });
    expect(parse({ head_dim: null, num_key_value_heads: null })).toMatchObject({ kvHeadCount: 8, headDim: 8 });
  });

  test('may have heads that do not add up to the hidden size', () => {
    expect(parse({ head_dim: 16 })).toMatchObject({ hiddenSize: 64, headCount: 8, headDim: 16 });
  });
});

test('fields that do not change the arithmetic are accepted', () => {
  const harmless = {
    attention_bias: false,
    attention_dropout: 0,
    mlp_bias: null,
    pretraining_tp: 1,
    quantization_config: null,
    attn_logit_softcapping: null,
    use_cache: false,
    initializer_range: 0.02,
    bos_token_id: 1,
    eos_token_id: [2, 3],
    pad_token_id: null,
    _name_or_path: 'anything',
    _model_name_or_path: 'what transformers writes for a model that it read from a GGUF file',
    transformers_version: '4.0.0',
    unsloth_version: '1',
  };
  expect(parse(harmless)).toEqual(parse({}));
});

test('whatever to_dict of transformers 4.44 writes is accepted', () => {
  const written = {
    ...{ return_dict: true, output_hidden_states: false, output_attentions: false, torchscript: false },
    ...{ use_bfloat16: false, tf_legacy_loss: false, pruned_heads: {}, chunk_size_feed_forward: 0 },
    ...{ is_encoder_decoder: false, is_decoder: false, cross_attention_hidden_size: null, add_cross_attention: false },
    ...{ tie_encoder_decoder: false, max_length: 20, min_length: 0, do_sample: false, early_stopping: false },
    ...{ num_beams: 1, num_beam_groups: 1, diversity_penalty: 0, temperature: 1, top_k: 50, top_p: 1, typical_p: 1 },
    ...{ repetition_penalty: 1, length_penalty: 1, no_repeat_ngram_size: 0, encoder_no_repeat_ngram_size: 0 },
    ...{ bad_words_ids: null, num_return_sequences: 1, output_scores: false, return_dict_in_generate: false },
    ...{ forced_bos_token_id: null, forced_eos_token_id: null, remove_invalid_values: false },
    ...{ exponential_decay_length_penalty: null, suppress_tokens: null, begin_suppress_tokens: null },
    ...{ finetuning_task: null, id2label: { 0: 'LABEL_0', 1: 'LABEL_1' }, label2id: { LABEL_0: 0, LABEL_1: 1 } },
    ...{ tokenizer_class: null, prefix: null, pad_token_id: null, sep_token_id: null, decoder_start_token_id: null },
    ...{ task_specific_params: null, problem_type: null, _name_or_path: '', transformers_version: '4.44.2' },
    ...{ torch_dtype: null, rope_scaling: null, pretraining_tp: 1, attention_dropout: 0, mlp_bias: false },
  };
  expect(parse(written)).toEqual(parse({}));
});

test('an unknown field of null says nothing and is accepted', () => {
  expect(parse({ num_experts: null, rope_scaling: { rope_type: 'default', beta_fast: null } })).toEqual(parse({}));
});

test.each<[unknown, string]>([
  [
    { num_experts: 8 },
    'config.json: num_experts is 8; Pairwise does not know this field, and it may change what the model computes. ' +
      'If it does not, remove it from config.json',
  ],
  [{ pretraining_tp: 2 }, 'config.json: pretraining_tp is 2, which Pairwise does not implement; it must be 1 or null'],
])('%j is refused in plain words', (changes, message) => {
  expect(() => parse(changes as Record<string, unknown>)).toThrow(message);
});

test.each<[string, unknown]>([
  ['is_encoder_decoder', true],
  ['resid_pdrop', 0.1],
  ['hidden_act', 'gelu'],
  ['hidden_act', 'gelu_pytorch_tanh'],
  ['attention_dropout', 0.1],
  ['pretraining_tp', 2],
  ['partial_rotary_factor', 0.5],
  ['quantization_config', { quant_method: 'gptq' }],
  ['attn_logit_softcapping', 50],
  ['final_logit_softcapping', 30],
  ['logits_scaling', 8],
  ['residual_multiplier', 0.2],
  ['embedding_multiplier', 12],
  ['attention_multiplier', 0.1],
  ['use_bidirectional_attention', true],
  ['num_experts', 8],
  ['no_rope_layers', [1]],
  ['constructor', {}],
  ['toString', 'x'],
])('%s of %j is refused by name', (field, value) => {
  expectRefused({ [field]: value }, 'UNSUPPORTED_CONFIG', field);
});

test('a field named __proto__ is a field like any other', () => {
  const json = JSON.parse(JSON.stringify(base).replace('{', '{"__proto__":{"hidden_act":"gelu"},')) as unknown;
  expect(() => parseConfig(json)).toThrow('__proto__ is an object; Pairwise does not know this field');
});

test.each<[string, Record<string, unknown>, string]>([
  ['an unknown type', { rope_scaling: { type: 'proportional', factor: 2 } }, 'rope_scaling.rope_type'],
  ['a type of Object', { rope_scaling: { type: 'constructor' } }, 'rope_scaling.rope_type'],
  [
    'linear with fields of yarn',
    { rope_scaling: { type: 'linear', factor: 2, beta_fast: 32 } },
    'rope_scaling.beta_fast',
  ],
  ['one per kind of layer', { rope_parameters: { full_attention: {} } }, 'rope_parameters.full_attention'],
  ['partial', { rope_parameters: { partial_rotary_factor: 0.5 } }, 'rope_parameters.partial_rotary_factor'],
  [
    'two at once',
    { rope_parameters: { rope_type: 'default' }, rope_scaling: { type: 'linear', factor: 2 } },
    'rope_scaling',
  ],
])('rope: %s is refused', (_, changes, field) => {
  expectRefused(changes, 'UNSUPPORTED_CONFIG', field);
});

test.each<[string, Record<string, unknown>, string]>([
  ['no object', { rope_scaling: 'llama3' }, 'rope_scaling'],
  ['without a factor', { rope_scaling: { type: 'llama3', ...llama3, factor: undefined } }, 'factor'],
  ['a factor of 0', { rope_scaling: { type: 'llama3', ...llama3, factor: 0 } }, 'factor'],
  [
    'frequencies the wrong way round',
    { rope_scaling: { type: 'llama3', ...llama3, low_freq_factor: 4 } },
    'high_freq_factor',
  ],
  ['a theta of 0', { rope_theta: 0 }, 'rope_theta'],
  ['a theta of null in the object', { rope_parameters: { rope_theta: null } }, 'rope_theta'],
])('rope: %s is invalid', (_, changes, field) => {
  expectRefused(changes, 'INVALID_MODEL', field);
});

test('a sliding window does not limit the length', () => {
  const windows = (changes: Record<string, unknown>) => parse(changes).layers.map(({ window }) => window);
  expect(windows({ ...mistral, sliding_window: 16 })).toEqual([16, 16]);
  expect(parse({ ...mistral, sliding_window: 16 }).maxLength).toBe(512);
  expect(windows({ ...mistral, sliding_window: null })).toEqual([undefined, undefined]);
  // MistralConfig has a window of 4096 by default; Llama does not read the field.
  expect(windows(mistral)).toEqual([4096, 4096]);
  expect(windows({ sliding_window: 16 })).toEqual([undefined, undefined]);
});

test.each<[string, unknown]>([
  ['head_dim', 7],
  ['head_dim', 0],
  ['num_key_value_heads', 3],
  ['num_key_value_heads', 16],
  ['hidden_size', '64'],
  ['hidden_size', null],
  ['hidden_size', 1e300],
  ['hidden_size', -64],
  ['hidden_size', 64.5],
  ['hidden_size', [64]],
  ['vocab_size', 2 ** 26 + 1],
  ['vocab_size', undefined],
  ['intermediate_size', { valueOf: 1 }],
  ['num_hidden_layers', 0],
  ['num_hidden_layers', 60_000_000],
  ['num_attention_heads', true],
  ['max_position_embeddings', 'NaN'],
  ['rms_norm_eps', 'NaN'],
  ['rms_norm_eps', -1e-5],
  ['rms_norm_eps', 1e300],
  ['rms_norm_eps', 1e-300],
  ['tie_word_embeddings', 'yes'],
  ['tie_word_embeddings', 1],
])('%s of %j is invalid', (field, value) => {
  expectRefused({ [field]: value }, 'INVALID_MODEL', field);
});

test('a hidden size that is not a multiple of the heads needs a head_dim', () => {
  expectRefused({ hidden_size: 66, head_dim: undefined }, 'INVALID_MODEL', 'head_dim');
});

test.each([undefined, null, 'LlamaForCausalLM', [], [['LlamaForCausalLM']], ['GemmaForCausalLM'], {}])(
  'architectures of %j are refused',
  (architectures) => {
    const matching = { reason: 'UNSUPPORTED_ARCHITECTURE', field: 'architectures' };
    expect(() => parse({ architectures })).toThrow(expect.objectContaining(matching) as Error);
  },
);

test.each([null, [], 'config', 5])('%j is not a config', (json) => {
  expect(() => parseConfig(json)).toThrow(expect.objectContaining({ reason: 'INVALID_MODEL' }) as Error);
});

test('deeply nested and very long values give a short message', () => {
  const deep = JSON.parse('['.repeat(1e6) + ']'.repeat(1e6)) as unknown;
  for (const field of ['architectures', 'hidden_act', 'hidden_size', 'rope_scaling', 'x'.repeat(1e6)]) {
    for (const value of [deep, 'y'.repeat(1e6)]) {
      let message = '';
      try {
        parseConfig({ ...base, [field]: value });
      } catch (error) {
        ({ message } = error as Error);
        expect(error).toHaveProperty('reason');
      }
      expect(message.length).toBeGreaterThan(10);
      expect(message.length).toBeLessThan(1000);
    }
  }
});

describe('what the architectures add', () => {
  const gemma3 = {
    ...base,
    architectures: ['Gemma3ForCausalLM'],
    model_type: 'gemma3_text',
    hidden_act: undefined,
    hidden_activation: 'gelu_pytorch_tanh',
    num_hidden_layers: 3,
    sliding_window: 16,
    query_pre_attn_scalar: 8,
  };

  const moe = {
    architectures: ['Qwen3MoeForCausalLM'],
    num_experts: 4,
    num_experts_per_tok: 2,
    moe_intermediate_size: 32,
  };

  test('Gemma 3 reads the same from transformers 4 and 5', () => {
    const four = parse({
      ...gemma3,
      rope_theta: 1e6,
      rope_local_base_freq: 1e4,
      rope_scaling: { rope_type: 'linear', factor: 8 },
      sliding_window_pattern: 2,
    });
    const five = parse({
      ...gemma3,
      rope_parameters: {
        full_attention: { rope_type: 'linear', factor: 8, rope_theta: 1e6 },
        sliding_attention: { rope_type: 'default', rope_theta: 1e4 },
      },
      layer_types: ['sliding_attention', 'full_attention', 'sliding_attention'],
    });
    expect(five).toEqual(four);
    expect(four).toMatchObject({
      layers: [
        { window: 16, rotary: 1 },
        { window: undefined, rotary: 0 },
        { window: 16, rotary: 1 },
      ],
      rotaries: [
        { theta: 1e6, dim: 8, scaling: { type: 'linear', factor: 8 } },
        { theta: 1e4, dim: 8, scaling: undefined },
      ],
      embeddingScale: 8,
      attentionScale: 1 / Math.sqrt(8),
    });
  });

  test('the text part of a model for images and text', () => {
    const outer = {
      architectures: ['Gemma3ForConditionalGeneration'],
      model_type: 'gemma3',
      text_config: JSON.parse(JSON.stringify({ ...gemma3, rope_local_base_freq: 1e4 })) as unknown,
      vision_config: { hidden_size: 8 },
      mm_tokens_per_image: 256,
      boi_token_index: 1,
      eoi_token_index: 2,
      image_token_index: 3,
    };
    expect(parseConfig(outer)).toEqual(parse({ ...gemma3, rope_local_base_freq: 1e4 }));
    expect(() => parseConfig({ ...outer, text_config: 'x' })).toThrow('text_config is not an object');
    expect(() => parseConfig({ ...outer, quantization_config: {} })).toThrow('quantization_config');
  });

  test('LongRoPE ends at its original length', () => {
    const phi = {
      ...base,
      architectures: ['Phi3ForCausalLM'],
      max_position_embeddings: 4096,
      original_max_position_embeddings: 1024,
      partial_rotary_factor: 0.5,
      rope_scaling: { type: 'longrope', short_factor: [1, 2], long_factor: [3, 4] },
    };
    expect(parse(phi)).toMatchObject({
      maxLength: 1024,
      rotaries: [
        { dim: 4, scaling: { shortFactor: [1, 2], attentionFactor: Math.sqrt(1 + Math.log(4) / Math.log(1024)) } },
      ],
    });
    const short = { ...phi, rope_scaling: { type: 'longrope', short_factor: [1], long_factor: [3, 4] } };
    expectRefused(short, 'INVALID_MODEL', 'short_factor');
  });

  test.each<[Record<string, unknown>, string, string]>([
    [{ ...mistral, sliding_window: 0 }, 'INVALID_MODEL', 'sliding_window'],
    [{ ...mistral, sliding_window: 'none' }, 'INVALID_MODEL', 'sliding_window'],
    [{ ...gemma3, layer_types: ['full_attention'] }, 'INVALID_MODEL', 'layer_types'],
    [{ ...gemma3, layer_types: Array(3).fill('chunked_attention') }, 'UNSUPPORTED_CONFIG', 'layer_types'],
    [{ ...gemma3, hidden_activation: 'gelu' }, 'UNSUPPORTED_CONFIG', 'hidden_activation'],
    [{ ...gemma3, query_pre_attn_scalar: 0 }, 'INVALID_MODEL', 'query_pre_attn_scalar'],
    [{ architectures: ['SmolLM3ForCausalLM'], no_rope_layers: [1] }, 'INVALID_MODEL', 'no_rope_layers'],
    [{ architectures: ['SmolLM3ForCausalLM'], use_sliding_window: true }, 'UNSUPPORTED_CONFIG', 'use_sliding_window'],
    [{ architectures: ['GraniteForCausalLM'], logits_scaling: 0 }, 'INVALID_MODEL', 'logits_scaling'],
    [{ ...moe, num_experts: 0 }, 'INVALID_MODEL', 'num_experts'],
    [{ ...moe, num_hidden_layers: 1000, num_experts: 31 }, 'INVALID_MODEL', 'num_experts'],
    [{ ...moe, num_experts_per_tok: 5 }, 'INVALID_MODEL', 'num_experts_per_tok'],
    [{ ...moe, mlp_only_layers: [0] }, 'UNSUPPORTED_CONFIG', 'mlp_only_layers'],
    [{ ...moe, decoder_sparse_step: 2 }, 'UNSUPPORTED_CONFIG', 'decoder_sparse_step'],
    [{ ...moe, output_router_logits: true }, 'UNSUPPORTED_CONFIG', 'output_router_logits'],
    [{ architectures: ['Phi3ForCausalLM'], partial_rotary_factor: 2 }, 'INVALID_MODEL', 'partial_rotary_factor'],
    [{ architectures: ['Phi3ForCausalLM'], head_dim: 8, partial_rotary_factor: 0.1 }, 'INVALID_MODEL', 'head_dim'],
  ])('%j is refused', (changes, reason, field) => {
    expectRefused(changes, reason, field);
  });
});
