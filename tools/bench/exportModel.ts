import { join } from 'node:path';
import type { Digest } from '@pairwise/fingerprint';
import { expectedTensors, parseConfig } from '@pairwise/model';
import { float32ToBfloat16, indexName, streamSafetensors } from '@pairwise/safetensors';
import { openFolder } from '@pairwise/store';
import { uniformStream } from '@pairwise/training';

/** A file of the model in the blob store. */
export interface StoredFile {
  path: string;
  digest: Digest;
  sizeBytes: number;
}

/** The shape of meta-llama/Llama-3.1-8B with a number of layers: 32 layers are 16 GB in bfloat16. */
const llamaConfig = (layers: number) => ({
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  hidden_act: 'silu',
  hidden_size: 4096,
  intermediate_size: 14336,
  num_hidden_layers: layers,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  vocab_size: 128256,
  max_position_embeddings: 131072,
  rms_norm_eps: 1e-5,
  rope_theta: 500000,
  tie_word_embeddings: false,
  torch_dtype: 'bfloat16',
});

/** The most bytes in one weight file. */
const weightFileBytes = 5e9;

/** Writes a sharded base model with random weights into the blob store of `folder`. */
export async function writeExportModel(folder: string, layers: number): Promise<StoredFile[]> {
  const config = llamaConfig(layers);
  const parts: ReturnType<typeof randomTensor>[][] = [];
  let sizeBytes = Infinity;
  for (const [name, shape] of expectedTensors(parseConfig(config))) {
    const size = 2 * sizeOf(shape);
    if ((sizeBytes += size) > weightFileBytes) {
      parts.push([]);
      sizeBytes = size;
    }
    parts.at(-1)!.push(randomTensor(name, shape));
  }
  const nameOf = (part: number) => `model-${part + 1}-of-${parts.length}.safetensors`;
  const weightMap = parts.flatMap((tensors, part) => tensors.map(({ name }) => [name, nameOf(part)]));
  const blobs = await openFolder(join(folder, 'blobs'));
  const files: StoredFile[] = [];
  const store = async (path: string, content: AsyncIterable<Uint8Array> | Uint8Array) => {
    files.push({ path, ...(await blobs.put(content)) });
  };
  const json = (value: unknown) => Buffer.from(JSON.stringify(value));
  await store('config.json', json(config));
  await store('tokenizer.json', json(tokenizer(config.vocab_size)));
  await store('tokenizer_config.json', json({ bos_token: '<s>', eos_token: '</s>', add_bos_token: true }));
  await store(indexName, json({ metadata: {}, weight_map: Object.fromEntries(weightMap) as unknown }));
  for (const [part, tensors] of parts.entries()) await store(nameOf(part), streamSafetensors(tensors));
  await blobs.close();
  return files;
}

const sizeOf = (shape: readonly number[]) => shape.reduce((product, size) => product * size, 1);

/** 8 MiB of weights with standard deviation 0.02. Every tensor repeats them, which is fast and changes no cost. */
const weights = (() => {
  const uniform = uniformStream(0, 'weights');
  const values = Float32Array.from({ length: 2 ** 22 }, () => (uniform() - 0.5) * 0.02 * Math.sqrt(12));
  return new Uint8Array(float32ToBfloat16(values).buffer);
})();

function randomTensor(name: string, shape: readonly number[]) {
  const length = 2 * sizeOf(shape);
  return {
    name,
    shape,
    dtype: 'BF16' as const,
    *data() {
      for (let at = 0; at < length; at += weights.length) yield weights.subarray(0, length - at);
    },
  };
}

/** A byte-level BPE with as many tokens and merges as Llama 3's: all pairs of bytes, then threes, and BOS and EOS. */
function tokenizer(vocabularySize: number) {
  const special = ['<s>', '</s>'];
  const isPlain = (byte: number) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let next = 256;
  const tokens = Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(isPlain(byte) ? byte : next++));
  const merges: [string, string][] = [];
  for (let index = 0; tokens.length < vocabularySize - special.length; index++) {
    const pair: [string, string] = [tokens[index >> 8]!, tokens[index & 255]!];
    merges.push(pair);
    tokens.push(pair.join(''));
  }
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  const vocab = Object.fromEntries([...tokens, ...special].map((token, id) => [token, id]));
  const added = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  return {
    version: '1.0',
    added_tokens: special.map((content) => ({ id: vocab[content], content, ...added })),
    pre_tokenizer: byteLevel,
    decoder: byteLevel,
    model: { type: 'BPE', byte_fallback: false, fuse_unk: false, vocab, merges },
  };
}
