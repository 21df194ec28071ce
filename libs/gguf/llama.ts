import type { GgufValue } from './values.ts';
import { f32, text, u32 } from './values.ts';

/** What GGUF says of a model of llama.cpp's `llama` architecture (Llama 2 and 3, Mistral, SmolLM2). */
export interface LlamaShape {
  hiddenSize: number;
  intermediateSize: number;
  layers: number;
  heads: number;
  kvHeads: number;
  headDim: number;
  vocabSize: number;
  maxPositions: number;
  rmsNormEps: number;
  ropeTheta: number;
  ropeScaling: RopeScaling | undefined;
  tiedEmbeddings: boolean;
}

/** Llama 3.1's scaling of rotary frequencies, or all frequencies divided by one factor. */
export type RopeScaling =
  | {
      type: 'llama3';
      factor: number;
      lowFreqFactor: number;
      highFreqFactor: number;
      originalMaxPositions: number;
    }
  | { type: 'linear'; factor: number };

/** `general.file_type` by the name users know (llama.h, `llama_ftype`). */
export const fileTypes = { F32: 0, F16: 1, Q8_0: 7, Q4_K_M: 15, BF16: 32 } as const;

export type FileType = keyof typeof fileTypes;

/** The `general.*` and `llama.*` keys of a model. `name` is shown to users; anything goes. */
export function llamaMetadata(shape: LlamaShape, file: { name: string; type: FileType }): Map<string, GgufValue> {
  const metadata = new Map<string, GgufValue>([
    ['general.architecture', text('llama')],
    ['general.type', text('model')],
    ['general.name', text(file.name)],
    ['general.file_type', u32(fileTypes[file.type])],
    ['general.quantization_version', u32(2)],
    ['llama.block_count', u32(shape.layers)],
    ['llama.context_length', u32(shape.maxPositions)],
    ['llama.embedding_length', u32(shape.hiddenSize)],
    ['llama.feed_forward_length', u32(shape.intermediateSize)],
    ['llama.attention.head_count', u32(shape.heads)],
    ['llama.attention.head_count_kv', u32(shape.kvHeads)],
    ['llama.attention.key_length', u32(shape.headDim)],
    ['llama.attention.value_length', u32(shape.headDim)],
    ['llama.attention.layer_norm_rms_epsilon', f32(shape.rmsNormEps)],
    ['llama.rope.dimension_count', u32(shape.headDim)],
    ['llama.rope.freq_base', f32(shape.ropeTheta)],
    ['llama.vocab_size', u32(shape.vocabSize)],
  ]);
  if (shape.ropeScaling?.type === 'linear') {
    metadata.set('llama.rope.scaling.type', text('linear'));
    metadata.set('llama.rope.scaling.factor', f32(shape.ropeScaling.factor));
  }
  return metadata;
}

/** Where a tensor of the GGUF file comes from. */
export interface LlamaTensor {
  /** llama.cpp's name. */
  name: string;
  /** Hugging Face's name. */
  source: string;
  /** Hugging Face's order: `[out, in]` for a linear layer, `[size]` for a norm. GGUF has them reversed. */
  shape: number[];
  /** Set where rows must be reordered by `interleaveHeads`: how many heads they make up. */
  interleavedHeads: number | undefined;
}

/** The tensors of a model in the order in which the file has them; llama.cpp's rotary factors come apart. */
export function llamaTensors(shape: LlamaShape): LlamaTensor[] {
  const { hiddenSize, intermediateSize, vocabSize, headDim } = shape;
  const tensor = (name: string, source: string, size: number[], interleavedHeads?: number): LlamaTensor => ({
    name: `${name}.weight`,
    source: `${source}.weight`,
    shape: size,
    interleavedHeads,
  });
  const layers = Array.from({ length: shape.layers }, (_, index) => {
    const block = `blk.${index}`;
    const layer = `model.layers.${index}`;
    const [queries, keys] = [shape.heads * headDim, shape.kvHeads * headDim];
    return [
      tensor(`${block}.attn_norm`, `${layer}.input_layernorm`, [hiddenSize]),
      tensor(`${block}.attn_q`, `${layer}.self_attn.q_proj`, [queries, hiddenSize], shape.heads),
      tensor(`${block}.attn_k`, `${layer}.self_attn.k_proj`, [keys, hiddenSize], shape.kvHeads),
      tensor(`${block}.attn_v`, `${layer}.self_attn.v_proj`, [keys, hiddenSize]),
      tensor(`${block}.attn_output`, `${layer}.self_attn.o_proj`, [hiddenSize, queries]),
      tensor(`${block}.ffn_norm`, `${layer}.post_attention_layernorm`, [hiddenSize]),
      tensor(`${block}.ffn_gate`, `${layer}.mlp.gate_proj`, [intermediateSize, hiddenSize]),
      tensor(`${block}.ffn_up`, `${layer}.mlp.up_proj`, [intermediateSize, hiddenSize]),
      tensor(`${block}.ffn_down`, `${layer}.mlp.down_proj`, [hiddenSize, intermediateSize]),
    ];
  });
  return [
    tensor('token_embd', 'model.embed_tokens', [vocabSize, hiddenSize]),
    ...layers.flat(),
    tensor('output_norm', 'model.norm', [hiddenSize]),
    // llama.cpp takes the embedding where there is no output matrix.
    ...(shape.tiedEmbeddings ? [] : [tensor('output', 'lm_head', [vocabSize, hiddenSize])]),
  ];
}

/**
 * Reorders the rows of a q or k projection, `[heads * headDim, in]`, from Hugging Face's rotary layout (first half of a
 * head turned against its second half) to llama.cpp's (neighbours): `permute` of convert_hf_to_gguf.py.
 * `bytes` is the whole tensor, row by row, of any element type.
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

/** Name of the tensor that holds `ropeFactors`. */
export const ropeFactorsName = 'rope_freqs.weight';

/**
 * The divisors of the rotary frequencies under Llama 3.1's scaling, `[headDim / 2]`; undefined for every other model.
 * The arithmetic is the stock converter's: frequencies in float32, the rest in float64.
 */
export function ropeFactors(shape: LlamaShape): Float32Array | undefined {
  const scaling = shape.ropeScaling;
  if (scaling?.type !== 'llama3') return undefined;
  const { factor, lowFreqFactor, highFreqFactor, originalMaxPositions } = scaling;
  return Float32Array.from({ length: shape.headDim / 2 }, (_, index) => {
    const exponent = Math.fround((2 * index) / shape.headDim);
    const frequency = Math.fround(1 / Math.fround(shape.ropeTheta ** exponent));
    const waveLength = (2 * Math.PI) / frequency;
    if (waveLength < originalMaxPositions / highFreqFactor) return 1;
    if (waveLength > originalMaxPositions / lowFreqFactor) return factor;
    const smooth = (originalMaxPositions / waveLength - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
    return 1 / ((1 - smooth) / factor + smooth);
  });
}
