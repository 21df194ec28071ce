import { createWriteStream } from 'node:fs';
import { mkdir, rename, rm, statfs } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { asDiskFull, PairwiseError } from '@pairwise/errors';

/** Writes a stream to a file. The file appears only once it is complete. Throws DISK_FULL, and what the stream throws. */
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
    throw asDiskFull(error, `there is no space left in ${dirname(path)} for ${basename(path)}; free some space`);
  }
}

/** Throws DISK_FULL before any work is done if the disk has too little space; `what` names what needs the space. */
export async function requireDiskSpace(folder: string, sizeBytes: number, what: string): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  const freeBytes = bavail * bsize;
  if (freeBytes >= sizeBytes) return;
  throw new PairwiseError(
    'DISK_FULL',
    `${what} needs ${sizeBytes} bytes in ${folder}, but only ${freeBytes} bytes are free; free some space`,
  );
}

/** Works with a folder for temporary files, which is emptied first and removed at the end. */
export async function inFolder<T>(folder: string, work: () => Promise<T>): Promise<T> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true, mode: 0o700 });
  try {
    return await work();
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
