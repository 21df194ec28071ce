/** For tests: Llama checkpoints as GGUF files, made with nothing but libs/gguf. */
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  ggufTokenizer,
  interleaveHeads,
  llamaMetadata,
  llamaTensors,
  ropeFactors,
  ropeFactorsName,
  writeGguf,
} from '@pairwise/gguf';
import type { GgufValue, LlamaShape, TensorToWrite } from '@pairwise/gguf';

/** A model in memory: float32 weights by Hugging Face's names. */
export interface TestModel {
  shape: LlamaShape;
  tokenizer: Map<string, GgufValue>;
  weights: (name: string) => Float32Array;
}

/** Reads a small checkpoint folder whose weights are float32 or bfloat16 in one safetensors file. */
export async function testModel(folder: string): Promise<TestModel> {
  const json = async (name: string) =>
    JSON.parse(await readFile(join(folder, name), 'utf8')) as Record<string, unknown>;
  const shape = shapeOf(await json('config.json'));
  const file = await readFile(join(folder, 'model.safetensors'));
  const headerEnd = 8 + Number(file.readBigUInt64LE());
  const header = JSON.parse(file.toString('utf8', 8, headerEnd)) as Record<
    string,
    { dtype: string; data_offsets: [number, number] }
  >;
  return {
    shape,
    tokenizer: ggufTokenizer({
      tokenizer: await json('tokenizer.json'),
      tokenizerConfig: await json('tokenizer_config.json'),
      vocabSize: shape.vocabSize,
    }).metadata,
    weights(name) {
      const {
        dtype,
        data_offsets: [start, end],
      } = header[name]!;
      const bytes = new Uint8Array(file.subarray(headerEnd + start, headerEnd + end)).buffer;
      if (dtype === 'F32') return new Float32Array(bytes);
      return new Float32Array(Uint32Array.from(new Uint16Array(bytes), (bits) => bits << 16).buffer);
    },
  };
}

/** Writes a model as a GGUF file whose matrices are F32, F16 or BF16. */
export async function writeTestGguf(model: TestModel, path: string, type: 'F32' | 'F16' | 'BF16'): Promise<void> {
  const factors = ropeFactors(model.shape);
  const tensors = llamaTensors(model.shape).map(({ name, source, shape, interleavedHeads }): TensorToWrite => {
    const stored = shape.length === 1 ? 'F32' : type;
    return {
      name,
      dims: shape.toReversed(),
      type: stored,
      data() {
        const bytes = stored === 'F32' ? bytesOf(model.weights(source)) : narrowed(model.weights(source), stored);
        return Promise.resolve(interleavedHeads ? interleaveHeads(bytes, shape[0]!, interleavedHeads) : bytes);
      },
    };
  });
  if (factors) {
    const data = () => Promise.resolve(bytesOf(factors));
    tensors.push({ name: ropeFactorsName, dims: [factors.length], type: 'F32', data });
  }
  const metadata = new Map([...llamaMetadata(model.shape, { name: 'test', type }), ...model.tokenizer]);
  await using file = await open(path, 'w');
  for await (const chunk of writeGguf({ metadata, tensors })) await file.writeFile(chunk);
}

function shapeOf(config: Record<string, unknown>): LlamaShape {
  const scaling = (config['rope_parameters'] ?? config['rope_scaling']) as Record<string, number | string> | null;
  const at = (name: string) => config[name] as number;
  return {
    hiddenSize: at('hidden_size'),
    intermediateSize: at('intermediate_size'),
    layers: at('num_hidden_layers'),
    heads: at('num_attention_heads'),
    kvHeads: at('num_key_value_heads'),
    headDim: at('head_dim'),
    vocabSize: at('vocab_size'),
    maxPositions: at('max_position_embeddings'),
    rmsNormEps: at('rms_norm_eps'),
    ropeTheta: (config['rope_theta'] ?? scaling?.['rope_theta']) as number,
    ropeScaling:
      scaling?.['rope_type'] === 'llama3'
        ? {
            type: 'llama3',
            factor: scaling['factor'] as number,
            lowFreqFactor: scaling['low_freq_factor'] as number,
            highFreqFactor: scaling['high_freq_factor'] as number,
            originalMaxPositions: scaling['original_max_position_embeddings'] as number,
          }
        : undefined,
    tiedEmbeddings: config['tie_word_embeddings'] === true,
  };
}

function bytesOf(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

/** Rounds to nearest, ties to even. */
function narrowed(values: Float32Array, type: 'F16' | 'BF16'): Uint8Array {
  if (type === 'F16') {
    const halves = new DataView(new ArrayBuffer(values.length * 2));
    values.forEach((value, index) => halves.setFloat16(index * 2, value, true));
    return new Uint8Array(halves.buffer);
  }
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const rounded = Uint16Array.from(bits, (word) => (word + 0x7fff + ((word >>> 16) & 1)) >>> 16);
  return new Uint8Array(rounded.buffer);
}

/** A model of random weights, for files whose arithmetic does not matter; the same ones for the same size. */
export function randomModel(
  vocabSize: number,
  tokenizer: Map<string, GgufValue>,
  sizes: { hiddenSize: number; intermediateSize: number; layers: number } = {
    hiddenSize: 32,
    intermediateSize: 64,
    layers: 1,
  },
): TestModel {
  const shape: LlamaShape = {
    ...sizes,
    heads: 2,
    kvHeads: 1,
    headDim: sizes.hiddenSize / 2,
    vocabSize,
    maxPositions: 512,
    rmsNormEps: 1e-5,
    ropeTheta: 10000,
    ropeScaling: undefined,
    tiedEmbeddings: false,
  };
  const lengths = new Map(llamaTensors(shape).map(({ source, shape: dims }) => [source, dims.reduce((a, b) => a * b)]));
  return {
    shape,
    tokenizer,
    weights(name) {
      // Numbers of a linear congruential generator, in [-0.125, 0.125) like small weights; norms are near 1.
      let state = Array.from(name).reduce((hash, letter) => (hash * 31 + letter.charCodeAt(0)) >>> 0, 7);
      return Float32Array.from({ length: lengths.get(name)! }, () => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        return (state / 2 ** 32 - 0.5) / 4 + (name.includes('norm') ? 1 : 0);
      });
    },
  };
}
