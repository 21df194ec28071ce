import { expectedTensors } from '@pairwise/model';
import type { ModelConfig } from '@pairwise/model';
import { fileTypes, type GgufType } from './fileTypes.ts';
import type { GgufValue } from './values.ts';
import { f32, text, u32 } from './values.ts';

/**
 * The `general.*` and `llama.*` keys of a model; to llama.cpp, Llama 2 and 3, Mistral and SmolLM2 are all `llama`.
 * `name` is any text to show to users.
 */
export function llamaMetadata(config: ModelConfig, file: { name: string; type: GgufType }): Map<string, GgufValue> {
  return new Map<string, GgufValue>([
    ['general.architecture', text('llama')],
    ['general.type', text('model')],
    ['general.name', text(file.name)],
    ['general.file_type', u32(fileTypes[file.type].id)],
    ['general.quantization_version', u32(2)],
    ['llama.block_count', u32(config.layerCount)],
    ['llama.context_length', u32(config.maxLength)],
    ['llama.embedding_length', u32(config.hiddenSize)],
    ['llama.feed_forward_length', u32(config.intermediateSize)],
    ['llama.attention.head_count', u32(config.headCount)],
    ['llama.attention.head_count_kv', u32(config.kvHeadCount)],
    ['llama.attention.key_length', u32(config.headDim)],
    ['llama.attention.value_length', u32(config.headDim)],
    ['llama.attention.layer_norm_rms_epsilon', f32(config.normEpsilon)],
    ['llama.rope.dimension_count', u32(config.headDim)],
    ['llama.rope.freq_base', f32(config.ropeTheta)],
    ['llama.vocab_size', u32(config.vocabularySize)],
  ]);
}

/** The keys of a LoRA adapter for such a model. llama.cpp's scale is `alpha` divided by the rank. */
export function llamaAdapterMetadata(file: { name: string; alpha: number }): Map<string, GgufValue> {
  return new Map<string, GgufValue>([
    ['general.architecture', text('llama')],
    ['general.type', text('adapter')],
    ['general.name', text(file.name)],
    ['general.file_type', u32(fileTypes.F32.id)],
    ['adapter.type', text('lora')],
    ['adapter.lora.alpha', f32(file.alpha)],
  ]);
}

/** Where a tensor of the GGUF file comes from. */
export interface LlamaTensor {
  /** llama.cpp's name. */
  name: string;
  /** Hugging Face's name. */
  source: string;
  /** In Hugging Face's order: `[out, in]` for a linear layer, `[size]` for a norm. GGUF has the reverse order. */
  shape: number[];
  /** The number of heads, if `interleaveHeads` must reorder the rows. */
  interleavedHeads: number | undefined;
}

/** llama.cpp's names of a layer's tensors. */
const layerNames: Record<string, string> = {
  input_layernorm: 'attn_norm',
  'self_attn.q_proj': 'attn_q',
  'self_attn.k_proj': 'attn_k',
  'self_attn.v_proj': 'attn_v',
  'self_attn.o_proj': 'attn_output',
  post_attention_layernorm: 'ffn_norm',
  'mlp.gate_proj': 'ffn_gate',
  'mlp.up_proj': 'ffn_up',
  'mlp.down_proj': 'ffn_down',
};
const otherNames: Record<string, string> = {
  'model.embed_tokens.weight': 'token_embd.weight',
  'model.norm.weight': 'output_norm.weight',
  // Missing if the embeddings are tied: llama.cpp then uses the embedding.
  'lm_head.weight': 'output.weight',
};

/** The tensors of a model in the order of the file, except the rotary factors (`ropeFactors`). */
export function llamaTensors(config: ModelConfig): LlamaTensor[] {
  return [...expectedTensors(config)].map(([source, shape]) => {
    const [, layer, part = ''] = /^model\.layers\.(\d+)\.(.+)\.weight$/.exec(source) ?? [];
    const interleavedHeads = { 'self_attn.q_proj': config.headCount, 'self_attn.k_proj': config.kvHeadCount }[part];
    const name = layer === undefined ? otherNames[source]! : `blk.${layer}.${layerNames[part]!}.weight`;
    return { name, source, shape, interleavedHeads };
  });
}

/**
 * Reorders the rows of a q or k projection, `[heads * headDim, in]`, from Hugging Face's rotary layout, which rotates the two
 * halves of a head against each other, to llama.cpp's, which rotates neighbours: `permute` of convert_hf_to_gguf.py.
 * `bytes` is the whole tensor, row by row, with any element type.
 */
export function interleaveHeads(bytes: Uint8Array, rows: number, heads: number): Uint8Array {
  const rowBytes = bytes.length / rows;
  const headRows = rows / heads;
  const half = headRows / 2;
  const reordered = new Uint8Array(bytes.length);
  for (let row = 0; row < rows; row++) {
    const inHead = row % headRows;
    const from = row - inHead + (inHead % 2) * half + Math.floor(inHead / 2);
    reordered.set(bytes.subarray(from * rowBytes, (from + 1) * rowBytes), row * rowBytes);
  }
  return reordered;
}

/** The name of the tensor with the `ropeFactors`. */
export const ropeFactorsName = 'rope_freqs.weight';

/**
 * The divisors of the rotary frequencies for Llama 3.1's scaling, `[headDim / 2]`; undefined for other models.
 * The arithmetic is that of the stock converter: frequencies in float32, the rest in float64.
 */
export function ropeFactors(config: ModelConfig): Float32Array | undefined {
  if (config.ropeScaling === undefined) return undefined;
  const { factor, lowFreqFactor, highFreqFactor, originalMaxPositionEmbeddings: original } = config.ropeScaling;
  return Float32Array.from({ length: config.headDim / 2 }, (_, index) => {
    const exponent = Math.fround((2 * index) / config.headDim);
    const frequency = Math.fround(1 / Math.fround(config.ropeTheta ** exponent));
    const waveLength = (2 * Math.PI) / frequency;
    if (waveLength < original / highFreqFactor) return 1;
    if (waveLength > original / lowFreqFactor) return factor;
    const smooth = (original / waveLength - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
    return 1 / ((1 - smooth) / factor + smooth);
  });
}
