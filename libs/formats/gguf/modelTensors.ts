import { architectures, expectedTensors, expertName, type ModelConfig } from '@pairwise/model';
import { ggufArchitectures } from './architectures.ts';

/** Where a tensor of the GGUF file comes from. */
export interface ModelTensor {
  /** llama.cpp's name. */
  name: string;
  /** Hugging Face's name; of a tensor that joins all experts of a layer the names of theirs, one after the other. */
  sources: [string, ...string[]];
  /** Of each source, in Hugging Face's order: `[out, in]` for a linear layer, `[size]` for a norm or a bias. */
  shape: number[];
  /** In GGUF's order, which is the reverse one. */
  dims: number[];
  /** The number of heads, if `interleaveHeads` must reorder the rows. */
  interleavedHeads: number | undefined;
  /** Is added to the values: llama.cpp's norms have no offset. */
  offset: 0 | 1;
}

/** Whether a tensor is stored in float32 in every file: norms, biases and routers. */
export function isFloat32({ name, shape }: Pick<ModelTensor, 'name' | 'shape'>): boolean {
  return shape.length === 1 || name.endsWith('.ffn_gate_inp.weight');
}

/** llama.cpp's names of a layer's tensors. */
const layerNames: Record<string, string> = {
  input_layernorm: 'attn_norm',
  'self_attn.q_norm': 'attn_q_norm',
  'self_attn.k_norm': 'attn_k_norm',
  'self_attn.q_proj': 'attn_q',
  'self_attn.k_proj': 'attn_k',
  'self_attn.v_proj': 'attn_v',
  'self_attn.qkv_proj': 'attn_qkv',
  'self_attn.o_proj': 'attn_output',
  post_attention_layernorm: 'ffn_norm',
  'mlp.gate_proj': 'ffn_gate',
  'mlp.up_proj': 'ffn_up',
  'mlp.gate_up_proj': 'ffn_up',
  'mlp.down_proj': 'ffn_down',
  'mlp.gate': 'ffn_gate_inp',
};
const otherNames: Record<string, string> = {
  'model.embed_tokens.weight': 'token_embd.weight',
  'model.norm.weight': 'output_norm.weight',
  // Missing if the embeddings are tied: llama.cpp then uses the embedding.
  'lm_head.weight': 'output.weight',
};

/** The tensors of a model in the order of the file, except the rotary factors (`ropeFactors`). */
export function modelTensors(config: ModelConfig): ModelTensor[] {
  const { interleaved, norms } = ggufArchitectures[config.architecture];
  const { normOffset } = architectures[config.architecture];
  const names = { ...layerNames, ...norms };
  const heads: Record<string, number> = {
    'self_attn.q_proj': config.headCount,
    'self_attn.k_proj': config.kvHeadCount,
  };
  const ofExperts = /\.experts\.\d+\./;
  const single = [...expectedTensors(config)].filter(([source]) => !ofExperts.test(source));
  const tensors = single.map(([source, shape]): ModelTensor => {
    const [, layer, part = '', kind = ''] = /^model\.layers\.(\d+)\.(.+)\.(weight|bias)$/.exec(source) ?? [];
    const name = layer === undefined ? otherNames[source]! : `blk.${layer}.${names[part]!}.${kind}`;
    const offset = source.endsWith('norm.weight') ? normOffset : 0;
    const interleavedHeads = interleaved ? heads[part] : undefined;
    return { name, sources: [source], shape, dims: shape.toReversed(), interleavedHeads, offset };
  });
  return [...tensors, ...expertTensors(config)];
}

function expertTensors({ layerCount, hiddenSize, experts }: ModelConfig): ModelTensor[] {
  if (experts === undefined) return [];
  const { count, intermediateSize } = experts;
  const modules = [
    ['gate_proj', 'ffn_gate_exps', [intermediateSize, hiddenSize]],
    ['up_proj', 'ffn_up_exps', [intermediateSize, hiddenSize]],
    ['down_proj', 'ffn_down_exps', [hiddenSize, intermediateSize]],
  ] as const;
  return Array.from({ length: layerCount }).flatMap((_, layer) =>
    modules.map(([module, name, shape]): ModelTensor => {
      const sources = Array.from({ length: count }, (_each, expert) => expertName(layer, expert, module));
      return {
        name: `blk.${layer}.${name}.weight`,
        sources: sources as [string, ...string[]],
        shape: [...shape],
        dims: [...shape.toReversed(), count],
        interleavedHeads: undefined,
        offset: 0,
      };
    }),
  );
}

/**
 * Reorders the rows of a q or k projection, `[heads * headDim, in]`, or of its bias, from Hugging Face's rotary layout, which rotates the two
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

/** Divisors of the rotary frequencies, as tensors of the file: `[dim / 2]` each. */
export function ropeFactors({ rotaries: [rotary] }: ModelConfig): { name: string; factors: Float32Array }[] {
  const scaling = rotary?.scaling;
  if (scaling?.type === 'longrope') {
    return [
      { name: 'rope_factors_long.weight', factors: Float32Array.from(scaling.longFactor) },
      { name: 'rope_factors_short.weight', factors: Float32Array.from(scaling.shortFactor) },
    ];
  }
  if (scaling?.type !== 'llama3') return [];
  const { theta, dim } = rotary!;
  const { factor, lowFreqFactor, highFreqFactor, originalMaxPositionEmbeddings: original } = scaling;
  // The arithmetic is that of the stock converter: frequencies in float32, the rest in float64.
  const factors = Float32Array.from({ length: dim / 2 }, (_, index) => {
    const exponent = Math.fround((2 * index) / dim);
    const frequency = Math.fround(1 / Math.fround(theta ** exponent));
    const waveLength = (2 * Math.PI) / frequency;
    if (waveLength < original / highFreqFactor) return 1;
    if (waveLength > original / lowFreqFactor) return factor;
    const smooth = (original / waveLength - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
    return 1 / ((1 - smooth) / factor + smooth);
  });
  return [{ name: 'rope_freqs.weight', factors }];
}
