import { expectedTensors, parseConfig } from '@pairwise/model';
import { dtypeBytes, float32ToBfloat16, type StreamedTensor } from '@pairwise/safetensors';
import { uniformStream } from '@pairwise/training';

/** The types in which a random model is stored. */
export type StoredDtype = 'bf16' | 'f32';

const llama = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  hidden_act: 'silu',
  rms_norm_eps: 1e-5,
};

/** The config.json of models that are measured, without their type. */
export const shapes = {
  /** HuggingFaceTB/SmolLM2-135M. */
  '135m': {
    ...llama,
    hidden_size: 576,
    intermediate_size: 1536,
    num_hidden_layers: 30,
    num_attention_heads: 9,
    num_key_value_heads: 3,
    vocab_size: 49152,
    max_position_embeddings: 8192,
    rope_theta: 100000,
    tie_word_embeddings: true,
  },
  /** meta-llama/Llama-3.2-1B, with 1.24 billion parameters. */
  '1b': {
    ...llama,
    hidden_size: 2048,
    intermediate_size: 8192,
    num_hidden_layers: 16,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    vocab_size: 128256,
    max_position_embeddings: 131072,
    rope_theta: 500000,
    tie_word_embeddings: true,
  },
  /** meta-llama/Llama-3.1-8B. */
  '8b': {
    ...llama,
    hidden_size: 4096,
    intermediate_size: 14336,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    vocab_size: 128256,
    max_position_embeddings: 131072,
    rope_theta: 500000,
    tie_word_embeddings: false,
  },
};

export type ShapeName = keyof typeof shapes;

/** The config.json of a random model; `layers` overrides the shape's number of layers. */
export function randomConfig(shape: ShapeName, dtype: StoredDtype, layers = shapes[shape].num_hidden_layers) {
  const torchDtype = { bf16: 'bfloat16', f32: 'float32' }[dtype];
  return { ...shapes[shape], num_hidden_layers: layers, torch_dtype: torchDtype };
}

/** All tensors of a model with this config. Norm weights are 1, all others have a standard deviation of 0.02, as in a new Llama. */
export function randomTensors(config: ReturnType<typeof randomConfig>): StreamedTensor[] {
  const dtype = config.torch_dtype === 'bfloat16' ? 'BF16' : 'F32';
  const bytesOf = (values: Float32Array) =>
    new Uint8Array((dtype === 'BF16' ? float32ToBfloat16(values) : values).buffer);
  const [random, ones] = [bytesOf(randomWeights()), bytesOf(new Float32Array(config.hidden_size).fill(1))];
  return [...expectedTensors(parseConfig(config))].map(([name, shape]) => {
    const weights = shape.length === 1 ? ones : random;
    const length = sizeBytes({ shape, dtype });
    return {
      name,
      shape,
      dtype,
      *data() {
        for (let at = 0; at < length; at += weights.length) yield weights.subarray(0, length - at);
      },
    };
  });
}

/** The size of a tensor in a file. */
export function sizeBytes({ shape, dtype }: Pick<StreamedTensor, 'shape' | 'dtype'>): number {
  return shape.reduce<number>((product, size) => product * size, dtypeBytes[dtype]);
}

/** 4 million weights. Every tensor repeats them, which is fast and changes no cost. */
function randomWeights(): Float32Array {
  const uniform = uniformStream(0, 'weights');
  return Float32Array.from({ length: 2 ** 22 }, () => (uniform() - 0.5) * 0.02 * Math.sqrt(12));
}
