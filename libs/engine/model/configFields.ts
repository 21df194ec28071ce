import { shown } from '@pairwise/errors';
import { unsupportedField, type ConfigObject } from './configValues.ts';

/** Fields that do not change the logps of given tokens. */
const harmless = new Set([
  'architectures',
  'model_type',
  'torch_dtype',
  'dtype',
  'transformers_version',
  'use_cache',
  'initializer_range',
  'bos_token_id',
  'eos_token_id',
  'pad_token_id',
  'unk_token_id',
  '_name_or_path',
  '_attn_implementation_autoset',
  'is_llama_config',
  'rope_interleaved',
  'transformers.js_config',
  'unsloth_version',
  'unsloth_fixed',
  'name_or_path',
  'id2label',
  'label2id',
  'num_labels',
  'problem_type',
  'task_specific_params',
  'return_dict',
  'output_attentions',
  'output_hidden_states',
  'torchscript',
  'chunk_size_feed_forward',
]);

/** Fields that `parseConfig` reads. */
const read = new Set([
  'hidden_size',
  'intermediate_size',
  'num_hidden_layers',
  'num_attention_heads',
  'num_key_value_heads',
  'head_dim',
  'vocab_size',
  'max_position_embeddings',
  'rms_norm_eps',
  'rope_theta',
  'rope_scaling',
  'rope_parameters',
  'tie_word_embeddings',
  'sliding_window',
]);

/** Fields that change the arithmetic unless they have one of these values, which are implemented. */
const fixed = new Map<string, readonly unknown[]>(
  Object.entries({
    hidden_act: ['silu'],
    attention_bias: [false, null],
    mlp_bias: [false, null],
    attention_dropout: [0, null],
    pretraining_tp: [1, null],
    partial_rotary_factor: [1, null],
    quantization_config: [null],
    attn_logit_softcapping: [null],
    final_logit_softcapping: [null],
    logits_scaling: [1, null],
    residual_multiplier: [1, null],
    embedding_multiplier: [1, null],
    attention_multiplier: [null],
    is_decoder: [true, false, null],
    add_cross_attention: [false, null],
    use_bidirectional_attention: [false, null],
    use_sliding_window: [false, null],
  }),
);

/** Throws UNSUPPORTED_CONFIG for the first field that is unknown or has a value that is not implemented. */
export function refuseUnimplemented(json: ConfigObject): void {
  for (const [field, value] of Object.entries(json)) {
    const allowed = fixed.get(field);
    if (allowed?.includes(value) === true) continue;
    if (allowed === undefined && (harmless.has(field) || read.has(field))) continue;
    const remedy =
      allowed === undefined ? 'is unknown' : `must be ${allowed.map((each) => JSON.stringify(each)).join(' or ')}`;
    throw unsupportedField(field.slice(0, 100), `is ${shown(value)}; it ${remedy}, since it may change the arithmetic`);
  }
}
