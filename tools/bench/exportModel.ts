import { join } from 'node:path';
import type { Digest } from '@pairwise/fingerprint';
import { indexName, streamSafetensors } from '@pairwise/safetensors';
import { openFolder } from '@pairwise/store';
import { randomConfig, randomTensors, sizeBytes } from './randomModel.ts';

/** A file of the model in the blob store. */
export interface StoredFile {
  path: string;
  digest: Digest;
  sizeBytes: number;
}

/** The most bytes in one weight file. */
const weightFileBytes = 5e9;

/** Writes a sharded base model of Llama 3.1 8B's shape (32 layers are 16 GB) with random weights into the blob store of `folder`. */
export async function writeExportModel(folder: string, layers: number): Promise<StoredFile[]> {
  const config = randomConfig('8b', 'bf16', layers);
  const parts: ReturnType<typeof randomTensors>[] = [];
  let fileBytes = Infinity;
  for (const tensor of randomTensors(config)) {
    if ((fileBytes += sizeBytes(tensor)) > weightFileBytes) {
      parts.push([]);
      fileBytes = sizeBytes(tensor);
    }
    parts.at(-1)!.push(tensor);
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
