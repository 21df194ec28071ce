import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { PairwiseError } from '@pairwise/errors';
import { errnoOf } from './content.ts';
import { livingFolders } from './heartbeat.ts';

/** A file in a cache. */
interface Held {
  path: string;
  /** The same for all links to a file. */
  inode: number;
  sizeBytes: number;
  /** The number of links to the file. */
  links: number;
  usedMs: number;
}

/** Lists the files of a folder, without those that disappear meanwhile. */
async function filesOf(folder: string): Promise<Held[]> {
  const gone = (error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  };
  const entries = (await readdir(folder, { withFileTypes: true, recursive: true }).catch(gone)) ?? [];
  const files = entries.filter((entry) => entry.isFile());
  const found = files.map(async ({ parentPath, name }) => {
    const path = join(parentPath, name);
    const stats = await stat(path).catch(gone);
    return stats && { path, inode: stats.ino, sizeBytes: stats.size, links: stats.nlink, usedMs: stats.mtimeMs };
  });
  return (await Promise.all(found)).filter((file) => file !== undefined);
}

/** The bytes that the files occupy; files with several links count once. */
function total(files: readonly Held[]): number {
  return [...new Map(files.map(({ inode, sizeBytes }) => [inode, sizeBytes])).values()].reduce((a, b) => a + b, 0);
}

const parts = (folder: string) => ['open', 'incoming'].map((part) => join(folder, part));

/**
 * Deletes unused copies, least recently used first, until the cache fits its limit. A blob being fetched counts with
 * its full size, so that two processes cannot count on the same space. Throws DISK_FULL if what the process with the
 * folder `own` has open exceeds the limit by itself, and UNAVAILABLE if other processes leave no space.
 */
export async function makeRoom(root: string, capBytes: number, own: string): Promise<void> {
  const folders = await livingFolders(root);
  const copies = await filesOf(join(root, 'sha256'));
  const used = (await Promise.all(folders.flatMap(parts).map(filesOf))).flat();
  let over = total([...copies, ...used]) - capBytes;
  const idle = copies.filter(({ links }) => links === 1).sort((a, b) => a.usedMs - b.usedMs);
  for (const { path, sizeBytes } of idle) {
    if (over <= 0) return;
    await rm(path, { force: true });
    over -= sizeBytes;
  }
  if (over <= 0) return;
  const needed = total((await Promise.all(parts(own).map(filesOf))).flat());
  if (needed > capBytes) {
    const message = `PAIRWISE_CACHE_BYTES is ${capBytes}, but ${needed} bytes are needed at once; raise it`;
    throw new PairwiseError('DISK_FULL', message, { metadata: { neededBytes: String(needed) } });
  }
  const message = `other processes use the cache, which is ${over} bytes too small now; wait, or raise PAIRWISE_CACHE_BYTES`;
  throw new PairwiseError('UNAVAILABLE', message);
}
