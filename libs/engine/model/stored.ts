import { readCheckpoint, type Checkpoint } from './checkpoint.ts';
import type { ModelFolder } from '@pairwise/safetensors';

/** A file of a model that lies in a blob store. */
export interface StoredFile<Digest> {
  path: string;
  sizeBytes: number | bigint;
  digest: Digest;
}

/** What is needed of a blob store: libs/platform/store has it. */
export interface Blobs<Digest> {
  read(digest: Digest, range: { start: number; end: number }): AsyncIterable<Uint8Array>;
  local(digest: Digest): Promise<AsyncDisposable & { path: string }>;
}

/** A model's files in a blob store, read like a folder. */
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

/** A checkpoint whose files are kept at hand until they are given back. */
export type StoredCheckpoint = Checkpoint & AsyncDisposable;

/**
 * The checkpoint of a model in a blob store, with the blobs' own paths as files: relative to `/`, weights are mapped where
 * the store keeps them. Throws as `readCheckpoint` does.
 */
export async function storedCheckpoint<Digest>(
  files: readonly StoredFile<Digest>[],
  blobs: Blobs<Digest>,
): Promise<StoredCheckpoint> {
  const { config, weights } = await readCheckpoint(storedFolder(files, blobs));
  await using opened = new AsyncDisposableStack();
  const digests = digestsOf(files);
  const paths = new Map<string, string>();
  for (const weight of weights.values()) {
    if (!paths.has(weight.file)) {
      paths.set(weight.file, opened.use(await blobs.local(digests.get(weight.file)!)).path);
    }
    weight.file = paths.get(weight.file)!;
  }
  const kept = opened.move();
  return { config, weights, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}
