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
  /** Created if missing. Processes of one user may share it, even from several containers. */
  folder: string;
  /** Most bytes of copies, in addition to what is being uploaded. */
  capBytes: number;
}

/** Verified copies of blobs on this machine. */
export interface Cache {
  /**
   * Returns a blob as a file: the existing copy, verified, or a new copy of `content`, which must detect damage itself.
   * Throws DISK_FULL, and UNAVAILABLE if copies that other processes use leave no space.
   */
  local(digest: Digest, sizeBytes: number, content: () => AsyncIterable<Uint8Array>): Promise<LocalBlob>;
  /**
   * Calls `use` with a path for a temporary file, which is deleted when `use` has ended. Throws what `use` throws, and
   * DISK_FULL.
   */
  spool<T>(use: (path: string) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

const waitMs = 100;

/**
 * Keeps copies of blobs in a folder: `sha256/ab/cdef...`, each with the time when it was last used. While a process
 * uses a copy, it keeps a link to it in a folder of its own, and a copy with another link is not evicted. If a copy is
 * evicted nevertheless, by a process that considers this one dead, it stays readable for whoever has it open.
 */
export async function openCache({ folder: root, capBytes }: CacheOptions): Promise<Cache> {
  for (const name of ['sha256', 'fetching']) await mkdir(join(root, name), { recursive: true, mode: 0o700 });
  const { id, folder, leave } = await enter(root);

  /** Links the copy of a blob to `own` and returns true if there is an undamaged one. */
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

  /** Announces that this process fetches a blob. Returns false if a running process already does. */
  async function claim(path: string): Promise<boolean> {
    try {
      await symlink(id, path);
      return true;
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw error;
    }
    const owner = await readlink(path).catch(() => undefined);
    // If two processes find it dead at the same moment, both may fetch, which only costs time.
    if (owner !== undefined && !(await isAlive(root, owner))) await rm(path, { force: true });
    return false;
  }

  /** Fetches a blob to `own` and to the cache. Its full size counts from the beginning. */
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
          // Another process may have added it between `take` and `claim`.
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
