import { Encoding, Model, ModelState } from '@pairwise/api';
import { digestOf, hexOf, type Digest } from '@pairwise/fingerprint';
import { packPairs, responseDigest, type EncodedPair } from '@pairwise/preference';
import type { BlobStore } from '@pairwise/store';
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

/** A model as the model service returns it. */
export function someModel(id: string, state: ModelState = ModelState.READY): Model {
  const files = [{ path: 'model.safetensors', digest: digestOf(Buffer.from(id)), sizeBytes: 1n }];
  return Model.create({ name: `projects/default/models/${id}`, state, files, parameterCount: 1n });
}

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
