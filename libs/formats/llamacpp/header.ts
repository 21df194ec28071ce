import { open } from 'node:fs/promises';
import { readGguf } from '@pairwise/gguf';
import type { GgufHeader } from '@pairwise/gguf';

/** Reads the header of a GGUF file on disk. Throws the errors of `readGguf`. */
export async function headerOf(path: string): Promise<GgufHeader> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat({ bigint: true });
    return await readGguf({
      sizeBytes: size,
      async read(offset, length) {
        const bytes = new Uint8Array(length);
        const { bytesRead } = await file.read(bytes, 0, length, Number(offset));
        return bytes.subarray(0, bytesRead);
      },
    });
  } finally {
    await file.close();
  }
}
