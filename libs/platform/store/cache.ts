import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { link, mkdir, open, readlink, rename, rm, symlink, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Digest, digestOfStream, hexOf } from '@pairwise/fingerprint';
import { blobPath, chunkBytes, errnoOf, fromDisk, write } from './content.ts';
import { enter, isAlive } from './heartbeat.ts';
import { makeRoom } from './diskSpace.ts';
import type { LocalBlob } from './store.ts';

/** Where an S3 store keeps copies on this machine. */
export interface CacheOptions {
  /** Made if missing; processes of one user may share it, in several containers too. */
  folder: string;
  /** Most bytes of copies; what is about to be uploaded comes on top. */
  capBytes: number;
}

/** Verified copies of blobs on this machine. */
export interface Cache {
  /**
   * A blob as a file: the copy that is there, verified, or a new copy of `content`, which must detect damage itself.
   * Throws DISK_FULL, and UNAVAILABLE if copies that other processes use leave no space.
   */
  local(digest: Digest, sizeBytes: number, content: () => AsyncIterable<Uint8Array>): Promise<LocalBlob>;
  /** Provides a path for a file that exists until `use` has ended. Throws as `use` does, and DISK_FULL. */
  spool<T>(use: (path: string) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

const waitMs = 100;

/**
 * Copies of blobs in a folder: `sha256/ab/cdef...`, each with the time of its last use. A process links a copy into its
 * own folder for as long as it uses it: what has another link is not evicted, and what is evicted all the same, by a
 * process that thinks this one dead, stays readable for whoever has it open.
 */
export async function openCache({ folder: root, capBytes }: CacheOptions): Promise<Cache> {
  for (const name of ['sha256', 'fetching']) await mkdir(join(root, name), { recursive: true, mode: 0o700 });
  const { id, folder, leave } = await enter(root);

  /** Links the copy of a blob to `own`, if there is a sound one. */
  async function take(digest: Digest, own: string): Promise<boolean> {
    const copy = join(root, blobPath(digest));
    try {
      await link(copy, own);
      await utimes(own, new Date(), new Date());
      if ((await digestOfStream(createReadStream(own, { highWaterMark: chunkBytes }))) === digest) return true;
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return false;
      throw error;
    }
    await Promise.all([copy, own].map((path) => rm(path, { force: true })));
    return false;
  }

  /** Says that this process fetches a blob, unless a living one does already. */
  async function claim(path: string): Promise<boolean> {
    try {
      await symlink(id, path);
      return true;
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw error;
    }
    const owner = await readlink(path).catch(() => undefined);
    // Two that find it dead at once may both fetch, which costs time and nothing else.
    if (owner !== undefined && !(await isAlive(root, owner))) await rm(path, { force: true });
    return false;
  }

  /** Fetches a blob and leaves it at `own` and in the cache. It counts with its whole size from the beginning. */
  async function fetch(digest: Digest, own: string, sizeBytes: number, content: AsyncIterable<Uint8Array>) {
    const [copy, temporary] = [join(root, blobPath(digest)), join(folder, 'incoming', randomUUID())];
    const file = await open(temporary, 'wx', 0o600);
    try {
      await file.truncate(sizeBytes);
      await makeRoom(root, capBytes, folder);
      await write(file, content, { expectedDigest: digest });
      await file.chmod(0o400);
      await link(temporary, own);
      await mkdir(dirname(copy), { recursive: true, mode: 0o700 });
      await rename(temporary, copy);
    } catch (error) {
      throw fromDisk(error, 'PAIRWISE_CACHE');
    } finally {
      await file.close();
      await rm(temporary, { force: true });
    }
  }

  return {
    async local(digest: Digest, sizeBytes: number, content: () => AsyncIterable<Uint8Array>): Promise<LocalBlob> {
      const own = join(folder, 'open', randomUUID());
      const claimed = join(root, 'fetching', hexOf(digest));
      while (!(await take(digest, own))) {
        if (!(await claim(claimed))) {
          await sleep(waitMs);
          continue;
        }
        try {
          // It may have come between the look and the claim.
          if (!(await take(digest, own))) await fetch(digest, own, sizeBytes, content());
          break;
        } finally {
          await rm(claimed, { force: true });
        }
      }
      return { path: own, [Symbol.asyncDispose]: () => rm(own, { force: true }) };
    },

    async spool<T>(use: (path: string) => Promise<T>): Promise<T> {
      const path = join(folder, 'outgoing', randomUUID());
      try {
        return await use(path);
      } catch (error) {
        throw fromDisk(error, 'PAIRWISE_CACHE');
      } finally {
        await rm(path, { force: true });
      }
    },

    close: leave,
  };
}
