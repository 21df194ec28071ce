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
  return {
    files: files.map(({ path, sizeBytes }) => ({ path, sizeBytes: Number(sizeBytes) })),
    read: async (path, start, end) => {
      const { digest } = files.find((file) => file.path === path)!;
      return Buffer.concat(await Array.fromAsync(blobs.read(digest, { start, end })));
    },
  };
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
  const paths = new Map<string, string>();
  for (const weight of weights.values()) {
    const { digest } = files.find(({ path }) => path === weight.file)!;
    if (!paths.has(weight.file)) paths.set(weight.file, opened.use(await blobs.local(digest)).path);
    weight.file = paths.get(weight.file)!;
  }
  const kept = opened.move();
  return { config, weights, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}
