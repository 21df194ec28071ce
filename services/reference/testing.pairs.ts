import { Encoding, Model, ModelState } from '@pairwise/api';
import { digestOf, hexOf, parseDigest, type Digest } from '@pairwise/fingerprint';
import { expectedTensors, parseConfig, quantizedLinears, readBaseModel, storedFolder } from '@pairwise/model';
import { packPairs, responseDigest, type EncodedPair } from '@pairwise/preference';
import { streamSafetensors, writeSafetensors } from '@pairwise/safetensors';
import type { BlobStore } from '@pairwise/store';
import { forwardOperations, workSize } from '@pairwise/training';
import type { ResponseLogps } from './shard.ts';

/** Encoded pairs number `from` to `to`, of six tokens each; the same number is the same pair. */
export function somePairs(from: number, to: number): EncodedPair[] {
  return Array.from({ length: to - from }, (_, index): EncodedPair => {
    const n = from + index;
    const [prompt, chosen, rejected] = [Int32Array.of(n), Int32Array.of(n, 1), Int32Array.of(n, 2, 1)];
    const digests = { chosenDigest: responseDigest(prompt, chosen), rejectedDigest: responseDigest(prompt, rejected) };
    return { pairDigest: digestOf(Buffer.from(`pair ${n}`)), prompt, chosen, rejected, ...digests };
  });
}

/** Stand-in for the model: logps from which the response can be recognized. */
export function logpsOf({ prompt: [n], chosenDigest, rejectedDigest }: EncodedPair): ResponseLogps[] {
  return [
    { response: chosenDigest, tokenLogps: Float32Array.of(-n!, -0.25) },
    { response: rejectedDigest, tokenLogps: Float32Array.of(-n!, -0.5, -0.75) },
  ];
}

const configJson = Buffer.from(
  JSON.stringify({
    architectures: ['LlamaForCausalLM'],
    hidden_size: 8,
    intermediate_size: 16,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    max_position_embeddings: 64,
    vocab_size: 32,
  }),
);

/** The config of every model. */
export const modelConfig = parseConfig(JSON.parse(configJson.toString()));

/** The bytes of the weights of every model: F32, with a head of its own. */
export const weightBytes = [...expectedTensors(modelConfig).values()]
  .map((shape) => 4 * shape.reduce((product, size) => product * size, 1))
  .reduce((sum, bytes) => sum + bytes, 0);

/** A model of zeros as the model service returns it, with its files in the store. The same id is the same model. */
export async function someModel(blobs: BlobStore, id: string, state: ModelState = ModelState.READY): Promise<Model> {
  const tensors = [...expectedTensors(modelConfig)].map(([name, shape]) => {
    const data = new Float32Array(shape.reduce((product, size) => product * size, 1));
    return { name, dtype: 'F32' as const, shape, data };
  });
  const contents = { 'config.json': configJson, 'model.safetensors': writeSafetensors(tensors, { id }) };
  const files = [];
  for (const [path, content] of Object.entries(contents)) {
    const { digest, sizeBytes } = await blobs.put(content);
    files.push({ path, digest, sizeBytes: BigInt(sizeBytes) });
  }
  return Model.create({ name: `projects/default/models/${id}`, state, files });
}

/** Stores the layers of a model in int8. */
export async function quantise(blobs: BlobStore, { files }: Model): Promise<{ digest: Digest; sizeBytes: number }> {
  const folder = storedFolder(
    files.map((file) => ({ ...file, digest: parseDigest(file.digest) })),
    blobs,
  );
  return blobs.put(streamSafetensors(quantizedLinears(folder, await readBaseModel(folder), 'INT8')));
}

/** The multiply-adds of each of `somePairs` under such a model. */
export const pairOperations = forwardOperations(modelConfig, workSize(somePairs(0, 1)));

/** An encoding as the dataset service returns it, with its shards in the store. */
export async function someEncoding(blobs: BlobStore, shards: readonly EncodedPair[][]): Promise<Encoding> {
  const shardDigests: Digest[] = [];
  for (const pairs of shards) shardDigests.push((await blobs.put(packPairs(pairs))).digest);
  const fingerprint = digestOf(Buffer.from(shardDigests.join()));
  return Encoding.create({
    name: `projects/default/encodings/${hexOf(fingerprint).slice(0, 13)}`,
    fingerprint,
    shardDigests,
  });
}
