import { counter, flag, real, unsupportedField, invalidField, type ConfigObject } from './configValues.ts';
import type { Experts } from './experts.ts';
import type { LinearModule } from './linearModules.ts';

/** The norms around a block of a layer, by their names below `model.layers.N`. */
export interface BlockNorms {
  /** Normalises what goes into the block. */
  before?: string;
  /** Normalises what comes out of the block, before it is added to the residual stream. */
  after?: string;
}

/** How a layer attends. */
export interface LayerAttention {
  /** How many tokens a token sees, itself included; undefined means all before it. */
  window: number | undefined;
  /** Which of the model's rotary embeddings turns queries and keys; undefined means none. */
  rotary: number | undefined;
}

/** The sizes that the differences of an architecture may depend on. */
export interface Sizes {
  hiddenSize: number;
  layerCount: number;
  headDim: number;
}

/** What an architecture's config.json says beyond what all of them have. */
export interface Differences {
  /** The linear layers with a bias. @default none */
  biases?: LinearModule[];
  /** One entry for each layer. @default all earlier tokens, and the first rotary embedding, in each */
  layers?: LayerAttention[];
  /** Multiplies the scores. @default 1 / sqrt(headDim) */
  attentionScale?: number;
  /** Multiplies the embeddings. @default 1 */
  embeddingScale?: number;
  /** Multiplies what a block adds to the residual stream. @default 1 */
  residualScale?: number;
  /** Multiplies the logits. @default 1 */
  logitScale?: number;
  /** Scores x become cap tanh(x / cap). @default none */
  attentionSoftcap?: number | undefined;
  /** Logits x become cap tanh(x / cap). @default none */
  logitSoftcap?: number | undefined;
  /** Set if each MLP consists of experts. @default none */
  experts?: Experts | undefined;
}

/** What distinguishes an architecture from the others. The forward pass reads nothing else about it. */
export interface Architecture {
  attentionNorms: BlockNorms;
  mlpNorms: BlockNorms;
  /** Whether queries and keys are normalised before they are rotated: each head by itself, or all heads of a token together. */
  queryKeyNorm?: 'head' | 'token';
  /** Added to the weights of all norms. */
  normOffset: 0 | 1;
  activation: 'silu' | 'gelu_pytorch_tanh';
  /** The linear layers that can be adapted, in the model's order. Experts are not among them. */
  modules: readonly LinearModule[];
  /** What the architecture's config class fills in for missing fields, where it differs from `parseConfig`. */
  defaults?: ConfigObject;
  /** Fields of config.json that `differences` and the rotary embeddings read, besides those of all architectures. */
  reads: readonly string[];
  /** Reads what this architecture adds. Throws UNSUPPORTED_CONFIG, INVALID_MODEL. */
  differences(json: ConfigObject, sizes: Sizes): Differences;
}

const projections: readonly LinearModule[] = ['q_proj', 'k_proj', 'v_proj', 'o_proj'];
const mlp: readonly LinearModule[] = ['gate_proj', 'up_proj', 'down_proj'];

/** Llama 1 to 3.3 and what follows it: Mistral 7B v0.2 and later, SmolLM and SmolLM2, Yi, DeepSeek LLM, ... */
const llama: Architecture = {
  attentionNorms: { before: 'input_layernorm' },
  mlpNorms: { before: 'post_attention_layernorm' },
  normOffset: 0,
  activation: 'silu',
  modules: [...projections, ...mlp],
  reads: ['attention_bias', 'mlp_bias'],
  differences: (json) => ({
    biases: [...(flag(json, 'attention_bias') ? projections : []), ...(flag(json, 'mlp_bias') ? mlp : [])],
  }),
};

const gemma2: Architecture = {
  attentionNorms: { before: 'input_layernorm', after: 'post_attention_layernorm' },
  mlpNorms: { before: 'pre_feedforward_layernorm', after: 'post_feedforward_layernorm' },
  normOffset: 1,
  activation: 'gelu_pytorch_tanh',
  modules: llama.modules,
  defaults: {
    head_dim: 256,
    query_pre_attn_scalar: 256,
    sliding_window: 4096,
    tie_word_embeddings: true,
    attn_logit_softcapping: 50,
    final_logit_softcapping: 30,
  },
  reads: [
    'query_pre_attn_scalar',
    'layer_types',
    'attn_logit_softcapping',
    'final_logit_softcapping',
    'cache_implementation',
  ],
  differences: (json, { hiddenSize, layerCount }) => ({
    layers: layersOf(json, layerCount, (layer) => layer % 2 === 0),
    embeddingScale: Math.sqrt(hiddenSize),
    attentionScale: 1 / Math.sqrt(real(json, 'query_pre_attn_scalar')),
    attentionSoftcap: optional(json, 'attn_logit_softcapping'),
    logitSoftcap: optional(json, 'final_logit_softcapping'),
  }),
};

const qwen3: Architecture = {
  ...llama,
  queryKeyNorm: 'head',
  defaults: { head_dim: 128 },
  reads: ['attention_bias', 'use_sliding_window', 'max_window_layers', 'layer_types'],
  differences: (json, { layerCount }) => ({
    biases: flag(json, 'attention_bias') ? [...projections] : [],
    layers: qwenLayers(json, layerCount),
  }),
};

const table = {
  LlamaForCausalLM: llama,

  MistralForCausalLM: {
    ...llama,
    defaults: { sliding_window: 4096 },
    reads: [],
    differences: (json, { layerCount }) => ({ layers: layersOf(json, layerCount, () => true) }),
  },

  // Qwen 2 and 2.5.
  Qwen2ForCausalLM: {
    ...llama,
    reads: ['use_sliding_window', 'max_window_layers', 'layer_types'],
    differences: (json, { layerCount }) => ({
      biases: ['q_proj', 'k_proj', 'v_proj'],
      layers: qwenLayers(json, layerCount),
    }),
  },

  Qwen3ForCausalLM: qwen3,

  // Its router and experts are not adapted.
  Qwen3MoeForCausalLM: {
    ...qwen3,
    modules: projections,
    reads: [
      ...qwen3.reads,
      'num_experts',
      'num_local_experts',
      'num_experts_per_tok',
      'moe_intermediate_size',
      'norm_topk_prob',
      'mlp_only_layers',
    ],
    differences: (json, sizes) => ({ ...qwen3.differences(json, sizes), experts: expertsOf(json, sizes.layerCount) }),
  },

  Gemma2ForCausalLM: gemma2,

  // Gemma 3 of 270M and 1B, and the text part of the larger ones.
  Gemma3ForCausalLM: {
    ...gemma2,
    queryKeyNorm: 'head',
    defaults: {
      head_dim: 256,
      num_attention_heads: 8,
      num_key_value_heads: 4,
      query_pre_attn_scalar: 256,
      sliding_window: 4096,
      max_position_embeddings: 131_072,
      vocab_size: 262_208,
      rope_theta: 1_000_000,
      tie_word_embeddings: true,
    },
    reads: [...gemma2.reads, 'sliding_window_pattern', '_sliding_window_pattern', 'rope_local_base_freq'],
    differences: (json, sizes) => {
      const pattern = counter(json)(
        '_sliding_window_pattern' in json ? '_sliding_window_pattern' : 'sliding_window_pattern',
        6,
      );
      const layers = layersOf(json, sizes.layerCount, (layer) => (layer + 1) % pattern !== 0);
      return {
        ...gemma2.differences(json, sizes),
        layers: layers.map(({ window }) => ({ window, rotary: window === undefined ? 0 : 1 })),
      };
    },
  },

  // Phi 3, 3.5 and 4.
  Phi3ForCausalLM: {
    ...llama,
    modules: ['qkv_proj', 'o_proj', 'gate_up_proj', 'down_proj'],
    reads: ['original_max_position_embeddings', 'partial_rotary_factor'],
    differences: (json, { layerCount }) => ({ layers: layersOf(json, layerCount, () => true) }),
  },

  SmolLM3ForCausalLM: {
    ...llama,
    defaults: { tie_word_embeddings: true },
    reads: [...llama.reads, 'no_rope_layers', 'no_rope_layer_interval', 'layer_types', 'use_sliding_window'],
    differences: (json, sizes) => {
      if (flag(json, 'use_sliding_window')) throw unsupportedField('use_sliding_window', 'is true; it must be false');
      const rotated = rotatedLayers(json, sizes.layerCount);
      const layers = layersOf(json, sizes.layerCount, () => false);
      return {
        ...llama.differences(json, sizes),
        layers: layers.map(({ window }, layer) => ({ window, rotary: rotated[layer] === true ? 0 : undefined })),
      };
    },
  },

  Olmo2ForCausalLM: {
    ...llama,
    attentionNorms: { after: 'post_attention_layernorm' },
    mlpNorms: { after: 'post_feedforward_layernorm' },
    queryKeyNorm: 'token',
    reads: ['attention_bias'],
    differences: (json) => ({ biases: flag(json, 'attention_bias') ? [...projections] : [] }),
  },

  // Granite 3.
  GraniteForCausalLM: {
    ...llama,
    reads: [...llama.reads, 'embedding_multiplier', 'attention_multiplier', 'residual_multiplier', 'logits_scaling'],
    differences: (json, sizes) => ({
      ...llama.differences(json, sizes),
      embeddingScale: real(json, 'embedding_multiplier', 1),
      attentionScale: real(json, 'attention_multiplier', 1),
      residualScale: real(json, 'residual_multiplier', 1),
      logitScale: 1 / real(json, 'logits_scaling', 1),
    }),
  },
} satisfies Record<string, Architecture>;

export type ArchitectureName = keyof typeof table;

/** Every supported architecture by its name in `architectures` of config.json. A new one is one more entry. */
export const architectures: Readonly<Record<ArchitectureName, Architecture>> = table;
export const architectureNames = Object.keys(table) as ArchitectureName[];

/**
 * The attention of each layer, from `layer_types` or, if it is missing, a rule for which layers have a window. A window of
 * null means none.
 */
function layersOf(json: ConfigObject, layerCount: number, slides: (layer: number) => boolean): LayerAttention[] {
  const window = json['sliding_window'] == null ? undefined : counter(json)('sliding_window');
  const types = json['layer_types'] ?? Array.from({ length: layerCount }, (_, layer) => kinds[Number(slides(layer))]!);
  if (!Array.isArray(types) || types.length !== layerCount) {
    throw invalidField('layer_types', `does not have one entry for each of the ${layerCount} layers`);
  }
  return types.map((type: unknown) => {
    if (!kinds.some((kind) => kind === type)) {
      throw unsupportedField('layer_types', `has a type that is not one of ${kinds.join(', ')}`);
    }
    return { window: type === kinds[1] ? window : undefined, rotary: 0 };
  });
}

const kinds = ['full_attention', 'sliding_attention'];

function qwenLayers(json: ConfigObject, layerCount: number): LayerAttention[] {
  const window = flag(json, 'use_sliding_window') ? json['sliding_window'] : null;
  const first = counter(json)('max_window_layers', 28);
  return layersOf({ ...json, sliding_window: window }, layerCount, (layer) => layer >= first);
}

/** Which layers of SmolLM3 have rotary embeddings: `no_rope_layers` has a 1 for those that do. */
function rotatedLayers(json: ConfigObject, layerCount: number): boolean[] {
  const interval = counter(json)('no_rope_layer_interval', 4);
  const listed =
    json['no_rope_layers'] ?? Array.from({ length: layerCount }, (_, i) => Number((i + 1) % interval !== 0));
  if (!Array.isArray(listed) || listed.length !== layerCount || !listed.every((each) => each === 0 || each === 1)) {
    throw invalidField('no_rope_layers', `does not have a 0 or 1 for each of the ${layerCount} layers`);
  }
  return listed.map((each) => each === 1);
}

function expertsOf(json: ConfigObject, layerCount: number): Experts {
  const dense = json['mlp_only_layers'] ?? [];
  if (!Array.isArray(dense) || dense.length > 0) {
    throw unsupportedField('mlp_only_layers', 'is not an empty list: layers without experts are not supported');
  }
  const read = counter(json);
  const field = 'num_local_experts' in json ? 'num_local_experts' : 'num_experts';
  const count = read(field, undefined, Math.floor(mostExperts / layerCount));
  const perToken = read('num_experts_per_tok', 8);
  if (perToken > count) throw invalidField('num_experts_per_tok', `is ${perToken}, but there are ${count} experts`);
  return {
    count,
    perToken,
    intermediateSize: read('moe_intermediate_size'),
    normalized: flag(json, 'norm_topk_prob'),
  };
}

/** Of all layers together: every expert costs memory before the first weight has been read. */
const mostExperts = 30_000;

/** A positive number, or undefined for null. */
function optional(json: ConfigObject, field: string): number | undefined {
  return json[field] == null ? undefined : real(json, field);
}
