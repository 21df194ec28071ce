/** For specs: base models as GGUF files. */
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  ggufTokenizer,
  interleaveHeads,
  isFloat32,
  modelMetadata,
  modelTensors,
  ropeFactors,
  writeGguf,
} from '@pairwise/gguf';
import type { GgufSpecialTokens, GgufValue, TensorToWrite } from '@pairwise/gguf';
import { expectedTensors, parseConfig } from '@pairwise/model';
import { bfloat16ToFloat32, float32ToBfloat16, float32ToFloat16, readSafetensors } from '@pairwise/safetensors';
import type { ModelConfig } from '@pairwise/model';

/** Special tokens as given, none besides. */
export function testSpecialTokens(given: Partial<GgufSpecialTokens>): GgufSpecialTokens {
  const none = {
    bosId: undefined,
    eosId: undefined,
    endOfTurnId: undefined,
    unknownId: undefined,
    paddingId: undefined,
  };
  return { ...none, stopIds: [], addsBos: false, ...given };
}

/** A model in memory, with float32 weights by Hugging Face's names. */
export interface TestModel {
  config: ModelConfig;
  tokenizer: Map<string, GgufValue>;
  weights: (name: string) => Float32Array;
  /** Whether spaces after special tokens are removed. Default: false. */
  stripsSpaces?: boolean;
}

/** Reads a small base model with float32 or bfloat16 weights in one weight file. */
export async function testModel(folder: string): Promise<TestModel> {
  const json = async (name: string) => JSON.parse(await readFile(join(folder, name), 'utf8')) as unknown;
  const config = parseConfig(await json('config.json'));
  const tensors = readSafetensors(await readFile(join(folder, 'model.safetensors')));
  return {
    config,
    tokenizer: ggufTokenizer({
      tokenizer: await json('tokenizer.json'),
      special: testSpecialTokens({ bosId: 1, eosId: 2, unknownId: 0, addsBos: true }),
      vocabSize: config.vocabularySize,
    }).metadata,
    weights(name) {
      const { data } = tensors.get(name)!;
      return data instanceof Uint16Array ? bfloat16ToFloat32(data) : (data as Float32Array);
    },
  };
}

/** Writes a model as a GGUF file with matrices of the given type. */
export async function writeTestGguf(model: TestModel, path: string, type: 'F32' | 'F16' | 'BF16'): Promise<void> {
  const tensors = modelTensors(model.config).map((tensor): TensorToWrite => {
    const { name, sources, shape, dims, interleavedHeads, offset } = tensor;
    const stored = isFloat32(tensor) ? 'F32' : type;
    return {
      name,
      dims,
      type: stored,
      data() {
        const bytes = bytesOf(
          Float32Array.from(
            sources.flatMap((source) => [...model.weights(source)]),
            (value) => value + offset,
          ),
          stored,
        );
        return Promise.resolve(interleavedHeads ? interleaveHeads(bytes, shape[0]!, interleavedHeads) : bytes);
      },
    };
  });
  for (const { name, factors } of ropeFactors(model.config)) {
    tensors.push({ name, dims: [factors.length], type: 'F32', data: () => Promise.resolve(bytesOf(factors, 'F32')) });
  }
  const { stripsSpaces = false } = model;
  const metadata = modelMetadata(model.config, { name: 'test', type, stripsSpaces }, model.tokenizer);
  await using file = await open(path, 'w');
  for await (const chunk of writeGguf({ metadata, tensors })) await file.writeFile(chunk);
}

function bytesOf(values: Float32Array, type: 'F32' | 'F16' | 'BF16'): Uint8Array {
  const stored = { F32: () => values, F16: () => float32ToFloat16(values), BF16: () => float32ToBfloat16(values) }[
    type
  ]();
  return new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength);
}

/** A model with random weights, for tests in which the values do not matter. The same size gives the same weights. */
export function randomModel(
  vocabularySize: number,
  tokenizer: Map<string, GgufValue>,
  { hiddenSize, intermediateSize, layerCount } = { hiddenSize: 32, intermediateSize: 64, layerCount: 1 },
): TestModel {
  const config = parseConfig({
    architectures: ['LlamaForCausalLM'],
    hidden_size: hiddenSize,
    intermediate_size: intermediateSize,
    num_hidden_layers: layerCount,
    num_attention_heads: 2,
    num_key_value_heads: 1,
    vocab_size: vocabularySize,
    max_position_embeddings: 512,
    rms_norm_eps: 1e-5,
  });
  const shapes = expectedTensors(config);
  return {
    config,
    tokenizer,
    weights(name) {
      // A linear congruential generator gives numbers in [-0.125, 0.125); norms are near 1.
      let state = Array.from(name).reduce((hash, letter) => (hash * 31 + letter.charCodeAt(0)) >>> 0, 7);
      return Float32Array.from({ length: shapes.get(name)!.reduce((a, b) => a * b) }, () => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        return (state / 2 ** 32 - 0.5) / 4 + (name.includes('norm') ? 1 : 0);
      });
    },
  };
}

/**
 * The same function with zeros around its weights, so that every row has 256 weights or a multiple, as llama.cpp's K types
 * need. Its logps are those of `model`. For a model with at most 256 hidden dimensions and as many in its MLP.
 */
export function paddedModel(model: TestModel): TestModel {
  const { config } = model;
  const size = 256;
  const factor = size / config.hiddenSize;
  const padded: ModelConfig = {
    ...config,
    hiddenSize: size,
    intermediateSize: size,
    headCount: config.headCount * factor,
    kvHeadCount: config.kvHeadCount * factor,
    normEpsilon: config.normEpsilon / factor,
  };
  const [before, after] = [expectedTensors(config), expectedTensors(padded)];
  return {
    ...model,
    config: padded,
    weights(name) {
      const values = model.weights(name);
      const [width, paddedWidth] = [before.get(name)!.at(-1)!, after.get(name)!.at(-1)!];
      const result = new Float32Array(after.get(name)!.reduce((product, dim) => product * dim));
      for (let row = 0; row * width < values.length; row++)
        result.set(values.subarray(row * width, (row + 1) * width), row * paddedWidth);
      // The mean over the squares now includes the zeros.
      return name.includes('norm') ? result.map((value) => value / Math.sqrt(factor)) : result;
    },
  };
}
