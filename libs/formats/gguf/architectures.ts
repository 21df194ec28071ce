import type { ArchitectureName, LinearModule, ModelConfig } from '@pairwise/model';

/** How llama.cpp implements an architecture. */
export interface GgufArchitecture {
  /** llama.cpp's name; the prefix of the architecture's keys. */
  name: string;
  /** Whether neighbouring dimensions of a head are rotated against each other, instead of its two halves. */
  interleaved: boolean;
  /** llama.cpp's names of the norms, where they differ from those of Llama. */
  norms?: Record<string, string>;
  /** Whether layers may have windows. If not, both agree only on texts that are not longer than the window. */
  windows: boolean;
  /** The ways of scaling rotary embeddings that it implements. */
  ropeScaling: readonly string[];
  /** The linear layers that may have a bias. */
  biases: readonly LinearModule[];
  /** Why it cannot run a model although it has the architecture, for what the fields above do not say. */
  obstacle?: (config: ModelConfig) => string | undefined;
}

const attention: readonly LinearModule[] = ['q_proj', 'k_proj', 'v_proj', 'o_proj'];

const llama: GgufArchitecture = {
  name: 'llama',
  interleaved: true,
  windows: false,
  ropeScaling: ['linear', 'yarn', 'llama3'],
  biases: [...attention, 'gate_proj', 'up_proj', 'down_proj'],
};

/** Architectures that rotate the halves of a head against each other, like Hugging Face. */
const neox: Omit<GgufArchitecture, 'name'> = {
  interleaved: false,
  windows: false,
  ropeScaling: ['linear', 'yarn'],
  biases: [],
};

const gemmaNorms = {
  post_attention_layernorm: 'post_attention_norm',
  pre_feedforward_layernorm: 'ffn_norm',
  post_feedforward_layernorm: 'post_ffw_norm',
};

/** Every architecture that Pairwise trains, as llama.cpp implements it. */
export const ggufArchitectures: Readonly<Record<ArchitectureName, GgufArchitecture>> = {
  LlamaForCausalLM: llama,
  MistralForCausalLM: llama,
  Qwen2ForCausalLM: { ...neox, name: 'qwen2', biases: ['q_proj', 'k_proj', 'v_proj'] },
  Qwen3ForCausalLM: { ...neox, name: 'qwen3' },
  Qwen3MoeForCausalLM: {
    ...neox,
    name: 'qwen3moe',
    obstacle: ({ experts }) =>
      experts?.normalized === true
        ? undefined
        : 'llama.cpp divides the weights of experts by their sum in every Qwen3-MoE',
  },
  Gemma2ForCausalLM: {
    ...neox,
    name: 'gemma2',
    norms: gemmaNorms,
    windows: true,
    ropeScaling: ['linear'],
    obstacle: (config) =>
      gemmaScale(config, 46) ??
      (config.attentionSoftcap === undefined || config.logitSoftcap === undefined
        ? 'llama.cpp caps the scores and logits of every Gemma 2, and this one does not'
        : undefined) ??
      (config.tieWordEmbeddings ? undefined : 'llama.cpp takes the embedding for the head of every Gemma 2'),
  },
  Gemma3ForCausalLM: {
    ...neox,
    name: 'gemma3',
    norms: gemmaNorms,
    windows: true,
    ropeScaling: ['linear'],
    obstacle: (config) =>
      gemmaScale(config, 62) ??
      (config.attentionSoftcap === undefined && config.logitSoftcap === undefined
        ? undefined
        : 'llama.cpp does not cap the scores and logits of a Gemma 3, and this one does'),
  },
  Phi3ForCausalLM: {
    ...neox,
    name: 'phi3',
    ropeScaling: ['longrope'],
    obstacle: ({ hiddenSize, headCount, headDim }) =>
      hiddenSize === headCount * headDim
        ? undefined
        : 'llama.cpp derives the size of a Phi 3 head from the hidden size',
  },
  SmolLM3ForCausalLM: {
    ...neox,
    name: 'smollm3',
    // SmolLM3 is rotated like Llama, because its converter reorders the rows as it does Llama's.
    interleaved: true,
    obstacle: ({ layers }) =>
      layers.every(({ rotary }, layer) => (rotary === undefined) === ((layer + 1) % 4 === 0))
        ? undefined
        : 'llama.cpp leaves exactly every fourth layer of a SmolLM3 without rotary embeddings',
  },
  Olmo2ForCausalLM: {
    ...neox,
    name: 'olmo2',
    norms: { post_attention_layernorm: 'post_attention_norm', post_feedforward_layernorm: 'post_ffw_norm' },
  },
  GraniteForCausalLM: { ...llama, name: 'granite' },
};

/** llama.cpp derives the factor of the scores from the sizes, in another way for the largest model. */
function gemmaScale({ attentionScale, headDim, hiddenSize, headCount, layerCount }: ModelConfig, layersOf27B: number) {
  const size = layerCount === layersOf27B ? hiddenSize / headCount : headDim;
  if (Math.abs(attentionScale * Math.sqrt(size) - 1) < 1e-5) return undefined;
  return `query_pre_attn_scalar is ${Math.round(attentionScale ** -2)}; llama.cpp takes ${size} for a model of this size`;
}

/** Why a model cannot be written as GGUF; undefined if it can. The tokenizer is not considered. */
export function ggufObstacle(config: ModelConfig): string | undefined {
  const { name, windows, ropeScaling, biases, obstacle } = ggufArchitectures[config.architecture];
  const bias = config.biases.find((module) => !biases.includes(module));
  if (bias !== undefined) return `llama.cpp does not implement a bias of ${bias} in a ${name} model`;
  for (const { scaling } of config.rotaries) {
    if (scaling === undefined) continue;
    if (!ropeScaling.includes(scaling.type)) {
      return `llama.cpp does not implement ${scaling.type} scaling of rotary embeddings in a ${name} model`;
    }
    if (scaling.type === 'yarn') {
      const usual = scaling.factor <= 1 ? 1 : 1 + 0.1 * Math.log(scaling.factor);
      const known = scaling.truncate && Math.abs(scaling.attentionFactor - usual) < 1e-6;
      if (!known) return 'llama.cpp derives the attention factor and the ramp of YaRN in another way';
    }
  }
  if (windows && windowPeriod(config) === undefined) {
    return `llama.cpp expects layers of a ${name} model to attend to all tokens at equal distances`;
  }
  return obstacle?.(config);
}

/** The number n for which every nth layer attends to all tokens and the others have a window; undefined if there is none. */
export function windowPeriod({ layers }: ModelConfig): number | undefined {
  const everywhere = layers.findIndex(({ window }) => window === undefined);
  const period = everywhere === -1 ? layers.length + 1 : everywhere + 1;
  const fits = layers.every(({ window }, layer) => (window === undefined) === ((layer + 1) % period === 0));
  return fits ? period : undefined;
}

/** The longest text on which llama.cpp and the model agree, in tokens. */
export function ggufContextLength(config: ModelConfig): number {
  const windows = config.layers.flatMap(({ window }) => (window === undefined ? [] : [window]));
  return ggufArchitectures[config.architecture].windows ? config.maxLength : Math.min(config.maxLength, ...windows);
}

/** What llama.cpp makes of windows that it does not implement, in words for a user; undefined if it implements all. */
export function windowCaveat(config: ModelConfig): string | undefined {
  const length = ggufContextLength(config);
  if (length === config.maxLength) return undefined;
  return `llama.cpp does not implement the sliding window of this model, so the file allows ${length} tokens of context, the length of the window, instead of ${config.maxLength}`;
}
