import { readBaseModel, type BaseModel } from './baseModel.ts';
import { readQuantizedLinears } from './quantizedLinears.ts';
import type { Weight } from './tensors.ts';
import type { ModelFolder } from '@pairwise/safetensors';

/** A file of a model in a blob store. */
export interface StoredFile<Digest> {
  path: string;
  sizeBytes: number | bigint;
  digest: Digest;
}

/** The part of a blob store that reading a model needs; libs/platform/store implements it. */
export interface Blobs<Digest> {
  read(digest: Digest, range: { start: number; end: number }): AsyncIterable<Uint8Array>;
  local(digest: Digest): Promise<AsyncDisposable & { path: string }>;
}

/** Presents a model's files in a blob store as a folder. */
export function storedFolder<Digest>(files: readonly StoredFile<Digest>[], blobs: Blobs<Digest>): ModelFolder {
  const digests = digestsOf(files);
  return {
    files: files.map(({ path, sizeBytes }) => ({ path, sizeBytes: Number(sizeBytes) })),
    read: async (path, start, end) =>
      Buffer.concat(await Array.fromAsync(blobs.read(digests.get(path)!, { start, end }))),
  };
}

function digestsOf<Digest>(files: readonly StoredFile<Digest>[]): Map<string, Digest> {
  return new Map(files.map(({ path, digest }) => [path, digest]));
}

/**
 * What is known of a model in a blob store without its weights: nothing can run with it. `quantized` is a file with the model's
 * `quantizedLinears`. @default none. Throws the errors of `readBaseModel`.
 */
export async function readStoredModel<Digest>(
  files: readonly StoredFile<Digest>[],
  blobs: Blobs<Digest>,
  quantized?: StoredFile<Digest>,
): Promise<BaseModel> {
  const base = await readBaseModel(storedFolder(files, blobs));
  if (quantized === undefined) return base;
  return { ...base, quantized: await readQuantizedLinears(storedFolder([quantized], blobs), quantized.path) };
}

/** A base model whose files stay on the local disk until it is disposed. */
export type StoredBaseModel = BaseModel & AsyncDisposable;

/**
 * Opens a model in a blob store. Each weight's `file` is the path of its blob, so that the runtime, with `/` as the folder,
 * maps the weights where the store keeps them. `quantized` is a file with the model's `quantizedLinears`. @default none
 * Throws the errors of `readBaseModel`.
 */
export async function storedBaseModel<Digest>(
  files: readonly StoredFile<Digest>[],
  blobs: Blobs<Digest>,
  quantized?: StoredFile<Digest>,
): Promise<StoredBaseModel> {
  const baseModel = await readStoredModel(files, blobs, quantized);
  await using opened = new AsyncDisposableStack();
  const place = async (weights: Map<string, Weight>, digests: Map<string, Digest>) => {
    const paths = new Map<string, string>();
    for (const weight of weights.values()) {
      if (!paths.has(weight.file)) {
        paths.set(weight.file, opened.use(await blobs.local(digests.get(weight.file)!)).path);
      }
      weight.file = paths.get(weight.file)!;
    }
  };
  await place(baseModel.weights, digestsOf(files));
  if (quantized !== undefined) {
    await place(baseModel.quantized!, digestsOf([quantized]));
  }
  const kept = opened.move();
  return { ...baseModel, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}
