import { PairwiseError, shown } from '@pairwise/errors';

/** Names that `architectures` in config.json may have. */
export const architectures = ['LlamaForCausalLM', 'MistralForCausalLM'] as const;
export type Architecture = (typeof architectures)[number];

/** Llama 3.1's stretching of low rotary frequencies. */
export interface Llama3RopeScaling {
  factor: number;
  lowFreqFactor: number;
  highFreqFactor: number;
  originalMaxPositionEmbeddings: number;
}

/** What the arithmetic of a Llama-type model depends on, under Hugging Face's names. */
export interface ModelConfig {
  architecture: Architecture;
  hiddenSize: number;
  intermediateSize: number;
  layerCount: number;
  headCount: number;
  kvHeadCount: number;
  headDim: number;
  vocabularySize: number;
  /** Longest sequence, in tokens: `max_position_embeddings`, or the sliding window where that is shorter. */
  maxLength: number;
  normEpsilon: number;
  ropeTheta: number;
  ropeScaling: Llama3RopeScaling | undefined;
  tieWordEmbeddings: boolean;
}

type Json = Record<string, unknown>;

/** Fields that say nothing about the arithmetic of a forward pass on given tokens. */
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

/** Fields that are read below. */
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

/** Fields that change the arithmetic unless they have the one value that is implemented. */
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

/**
 * Reads the config.json of a Llama-type model, as transformers 4 or 5 writes it. A field that would change the
 * arithmetic and is not implemented is refused by name, and so is one that is not known at all: nobody can tell what it
 * changes. Throws UNSUPPORTED_ARCHITECTURE, UNSUPPORTED_CONFIG, INVALID_MODEL.
 */
export function parseConfig(json: unknown): ModelConfig {
  if (!isRecord(json)) throw new PairwiseError('INVALID_MODEL', 'config.json is no JSON object');
  const architecture = parseArchitecture(json);
  refuseUnimplemented(json);
  const count = counter(json);
  const headCount = count('num_attention_heads');
  const hiddenSize = count('hidden_size');
  const kvHeadCount = count('num_key_value_heads', headCount);
  const headDim = count('head_dim', hiddenSize / headCount);
  if (headCount % kvHeadCount !== 0) {
    throw invalid('num_key_value_heads', `is ${kvHeadCount}, which does not divide the ${headCount} attention heads`);
  }
  if (headDim % 2 !== 0) throw invalid('head_dim', `is ${headDim}; rotary embeddings need an even one`);
  const maxPositions = count('max_position_embeddings');
  return {
    architecture,
    hiddenSize,
    intermediateSize: count('intermediate_size'),
    layerCount: count('num_hidden_layers', undefined, mostLayers),
    headCount,
    kvHeadCount,
    headDim,
    vocabularySize: count('vocab_size'),
    maxLength: Math.min(maxPositions, windowOf(json, architecture) ?? maxPositions),
    normEpsilon: real(json, 'rms_norm_eps', 1e-6),
    ...parseRope(json),
    tieWordEmbeddings: flag(json, 'tie_word_embeddings'),
  };
}

function parseArchitecture({ architectures: named }: Json): Architecture {
  const first: unknown = Array.isArray(named) ? named[0] : undefined;
  const known = architectures.find((architecture) => architecture === first);
  if (known !== undefined) return known;
  const message = `the architecture ${shown(first)} is not supported; supported are ${architectures.join(', ')}`;
  throw new PairwiseError('UNSUPPORTED_ARCHITECTURE', message, { field: 'architectures' });
}

function refuseUnimplemented(json: Json): void {
  for (const [field, value] of Object.entries(json)) {
    const allowed = fixed.get(field);
    if (allowed?.includes(value) === true) continue;
    if (allowed === undefined && (harmless.has(field) || read.has(field))) continue;
    const remedy =
      allowed === undefined ? 'is not known' : `must be ${allowed.map((each) => JSON.stringify(each)).join(' or ')}`;
    throw unsupported(field.slice(0, 100), `is ${shown(value)}; it ${remedy}, since it may change the arithmetic`);
  }
}

/** Tokens that a token sees, itself included: null is all of them, and Mistral's window has a default. */
function windowOf(json: Json, architecture: Architecture): number | undefined {
  if (json['sliding_window'] === null) return undefined;
  if (json['sliding_window'] !== undefined) return counter(json)('sliding_window');
  return architecture === 'MistralForCausalLM' ? 4096 : undefined;
}

/** transformers 5 puts everything into `rope_parameters`; 4 had `rope_theta` beside `rope_scaling`. */
function parseRope(json: Json): Pick<ModelConfig, 'ropeTheta' | 'ropeScaling'> {
  if (json['rope_parameters'] != null && json['rope_scaling'] != null) {
    throw unsupported('rope_scaling', 'stands beside rope_parameters; which of them counts depends on the reader');
  }
  const field = json['rope_parameters'] != null ? 'rope_parameters' : 'rope_scaling';
  const rope = json[field] ?? {};
  if (!isRecord(rope)) throw invalid(field, 'is no object');
  const known = ['rope_theta', 'rope_type', 'type', 'partial_rotary_factor', ...Object.values(llama3Fields)];
  const stranger = Object.keys(rope).find((name) => !known.includes(name));
  if (stranger !== undefined) {
    throw unsupported(`${field}.${stranger.slice(0, 100)}`, 'is not known, and may change the arithmetic');
  }
  if ((rope['partial_rotary_factor'] ?? 1) !== 1) throw unsupported(`${field}.partial_rotary_factor`, 'is not 1');
  const ropeTheta = 'rope_theta' in rope ? real(rope, 'rope_theta') : real(json, 'rope_theta', 10_000);
  const type = rope['rope_type'] ?? rope['type'] ?? 'default';
  if (type === 'default') return { ropeTheta, ropeScaling: undefined };
  if (type !== 'llama3') throw unsupported(`${field}.rope_type`, `is ${shown(type)}; it must be default or llama3`);
  const ropeScaling = {
    factor: real(rope, llama3Fields.factor),
    lowFreqFactor: real(rope, llama3Fields.lowFreqFactor),
    highFreqFactor: real(rope, llama3Fields.highFreqFactor),
    originalMaxPositionEmbeddings: counter(rope)(llama3Fields.originalMaxPositionEmbeddings),
  };
  if (ropeScaling.highFreqFactor <= ropeScaling.lowFreqFactor) {
    throw invalid(llama3Fields.highFreqFactor, `is ${ropeScaling.highFreqFactor}; it must be above low_freq_factor`);
  }
  return { ropeTheta, ropeScaling };
}

const llama3Fields = {
  factor: 'factor',
  lowFreqFactor: 'low_freq_factor',
  highFreqFactor: 'high_freq_factor',
  originalMaxPositionEmbeddings: 'original_max_position_embeddings',
};

/** Largest size that is believed: far above every model's, and small enough that no product overflows. */
const largest = 2 ** 26;
/** Most layers: every one of them costs memory before a single weight has been seen. */
const mostLayers = 1024;

function counter(json: Json) {
  return (field: string, otherwise?: number, most = largest): number => {
    const value = json[field] ?? otherwise;
    if (Number.isInteger(value) && (value as number) >= 1 && (value as number) <= most) return value as number;
    throw invalid(field, `is ${shown(value)}; it must be a whole number from 1 to ${most}`);
  };
}

/** Smallest factor or epsilon that is believed; the largest is its inverse. float32 holds both, and products of them. */
const smallestReal = 1e-16;

function real(json: Json, field: string, otherwise?: number): number {
  const value = json[field] ?? otherwise;
  if (typeof value === 'number' && value >= smallestReal && value <= 1 / smallestReal) return value;
  throw invalid(field, `is ${shown(value)}; it must be a number from ${smallestReal} to ${1 / smallestReal}`);
}

function flag(json: Json, field: string): boolean {
  const value = json[field] ?? false;
  if (typeof value === 'boolean') return value;
  throw invalid(field, `is ${shown(value)}; it must be true or false`);
}

function isRecord(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function invalid(field: string, problem: string): PairwiseError {
  return new PairwiseError('INVALID_MODEL', `config.json: ${field} ${problem}`, { field });
}

function unsupported(field: string, problem: string): PairwiseError {
  return new PairwiseError('UNSUPPORTED_CONFIG', `config.json: ${field} ${problem}`, { field });
}
