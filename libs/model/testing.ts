import { open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { ModelFolder } from './checkpoint.ts';

/** For specs: a model folder on disk. */
export async function folderAt(path: string): Promise<ModelFolder> {
  const names = await readdir(path);
  return {
    files: await Promise.all(
      names.map(async (name) => ({ path: name, sizeBytes: (await stat(join(path, name))).size })),
    ),
    read: async (name, start, end) => {
      await using file = await open(join(path, name));
      const bytes = new Uint8Array(end - start);
      await file.read(bytes, 0, bytes.length, start);
      return bytes;
    },
  };
}
