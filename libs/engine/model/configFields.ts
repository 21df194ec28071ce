import { shown } from '@pairwise/errors';
import type { Architecture } from './architectures.ts';
import { unsupportedField, type ConfigObject } from './configValues.ts';

/** Fields that do not change the logps of given tokens. */
const harmless = new Set([
  // Of a loss that is added only with output_router_logits.
  'router_aux_loss_coef',
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
  '_model_name_or_path',
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
  'use_return_dict',
  'use_bfloat16',
  'tf_legacy_loss',
  'xla_device',
  'finetuning_task',
  'gradient_checkpointing',
  'tie_encoder_decoder',
  // Pruned heads are missing from the tensors, whose shapes are checked.
  'pruned_heads',
  '_commit_hash',
  'attn_implementation',
  '_attn_implementation',
  '_flash_attn_2_enabled',
  'tokenizer_class',
  'prefix',
  'cls_token_id',
  'mask_token_id',
  'sep_token_id',
  'decoder_start_token_id',
  // Lengths that no code of transformers reads; `max_position_embeddings` counts.
  'max_sequence_length',
  'max_seq_len',
  'model_max_length',
  'seq_length',
]);

/** How text is generated, which transformers 4 wrote into config.json. */
const generation = new Set([
  'max_length',
  'max_new_tokens',
  'min_length',
  'min_new_tokens',
  'do_sample',
  'early_stopping',
  'num_beams',
  'num_beam_groups',
  'diversity_penalty',
  'temperature',
  'top_k',
  'top_p',
  'min_p',
  'typical_p',
  'repetition_penalty',
  'length_penalty',
  'no_repeat_ngram_size',
  'encoder_no_repeat_ngram_size',
  'bad_words_ids',
  'num_return_sequences',
  'output_scores',
  'return_dict_in_generate',
  'forced_bos_token_id',
  'forced_eos_token_id',
  'remove_invalid_values',
  'exponential_decay_length_penalty',
  'suppress_tokens',
  'begin_suppress_tokens',
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
  // Of architectures without windows, transformers does not read it either.
  'sliding_window',
]);

/** Fields that change the arithmetic unless they have one of these values, which are implemented. */
const fixed = new Map<string, readonly unknown[]>(
  Object.entries({
    attention_bias: [false, null],
    mlp_bias: [false, null],
    attention_dropout: [0, null],
    resid_pdrop: [0, null],
    embd_pdrop: [0, null],
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
    is_encoder_decoder: [false, null],
    add_cross_attention: [false, null],
    use_bidirectional_attention: [false, null],
    use_sliding_window: [false, null],
    decoder_sparse_step: [1, null],
    output_router_logits: [false, null],
  }),
);

/**
 * Throws UNSUPPORTED_CONFIG for the first field that has a value that is not implemented, or is unknown. An unknown field
 * of null says nothing, so it is accepted.
 */
export function refuseUnimplemented(
  json: ConfigObject,
  { activation, reads }: Pick<Architecture, 'activation' | 'reads'>,
): void {
  for (const [field, value] of Object.entries(json)) {
    if (reads.includes(field)) continue;
    const allowed = activationFields.includes(field) ? [activation, null] : fixed.get(field);
    if (allowed?.includes(value) === true) continue;
    const known = harmless.has(field) || generation.has(field) || read.has(field);
    if (allowed === undefined && (known || value === null)) continue;
    throw unsupportedField(field.slice(0, 100), `is ${shown(value)}${allowed ? mustBe(allowed) : unknown}`);
  }
}

/** Gemma has two names for it. */
const activationFields = ['hidden_act', 'hidden_activation'];

const unknown =
  '; Pairwise does not know this field, and it may change what the model computes. If it does not, remove it from config.json';

function mustBe(allowed: readonly unknown[]): string {
  return `, which Pairwise does not implement; it must be ${allowed.map((each) => JSON.stringify(each)).join(' or ')}`;
}
