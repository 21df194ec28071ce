import { createWriteStream } from 'node:fs';
import { rename, rm, statfs } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { PairwiseError } from '@pairwise/errors';

/**
 * Writes a file whose bytes come as a stream; it appears under its name only when it is whole.
 * Throws `DISK_FULL`, and whatever the stream throws.
 */
export async function writeFileFrom(
  path: string,
  content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<void> {
  const partial = `${path}.part`;
  try {
    await pipeline(Readable.from(content, { objectMode: false }), createWriteStream(partial, { flush: true }));
    await rename(partial, path);
  } catch (error) {
    await rm(partial, { force: true });
    throw fullDisk(error, path);
  }
}

/** Refuses with `DISK_FULL`, before work is spent, what the disk has no room for. */
export async function requireRoom(folder: string, sizeBytes: number, what: string): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  if (bavail * bsize >= sizeBytes) return;
  throw new PairwiseError(
    'DISK_FULL',
    `${what} needs ${sizeBytes} bytes in ${folder}, where ${bavail * bsize} are free`,
  );
}

function fullDisk(error: unknown, path: string): unknown {
  if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') return error;
  return new PairwiseError('DISK_FULL', `no room left in ${dirname(path)} for ${basename(path)}`, { cause: error });
}
