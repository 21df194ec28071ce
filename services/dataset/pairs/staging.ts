import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { PairwiseError } from '@pairwise/errors';
import type { Digest } from '@pairwise/fingerprint';

/** Bytes after which an upload is brought to the disk for good. */
const syncBytes = 8 * 1024 * 1024;

/** A file that is being uploaded. */
export interface Upload {
  /** Bytes that it has. */
  sizeBytes(): number;
  /** Throws DISK_FULL; what had arrived before stays. */
  append(chunk: Uint8Array): Promise<void>;
  /** Brings everything to the disk. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

export type Staging = Awaited<ReturnType<typeof openStaging>>;

/**
 * The folder in which uploads and the pairs of imports lie until they are sealed, two files for each import, named by its
 * uid. How much of an upload has been kept is the size of its file.
 */
export async function openStaging(folder: string) {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const uploadPath = (uid: string) => join(folder, `${uid}.upload`);
  const pairsPath = (uid: string) => join(folder, `${uid}.pairs`);

  return {
    uploadPath,
    pairsPath,

    /** Opens an upload to go on with, or begins it. */
    async open(uid: string): Promise<Upload> {
      const file = await open(uploadPath(uid), 'a', 0o600);
      let { size } = await file.stat();
      let synced = 0;
      const sync = async () => {
        await file.datasync().catch(throwDiskFull);
        synced = size;
      };
      // What an earlier process had written may not be on the disk yet.
      await sync();
      return {
        sizeBytes: () => size,
        append: async (chunk) => {
          size += await appendTo(file, chunk);
          if (size - synced >= syncBytes) await sync();
        },
        sync,
        close: () => file.close(),
      };
    },

    /** Bytes of an upload that are on the disk. */
    async committedBytes(uid: string): Promise<number> {
      try {
        await using file = await open(uploadPath(uid), 'r');
        await file.datasync();
        return (await file.stat()).size;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0;
        throw error;
      }
    },

    /** sha256 of an upload. */
    async digest(uid: string): Promise<Digest> {
      const hash = createHash('sha256');
      for await (const chunk of createReadStream(uploadPath(uid)) as AsyncIterable<Buffer>) hash.update(chunk);
      return `sha256:${hash.digest('hex')}`;
    },

    dropUpload: (uid: string) => rm(uploadPath(uid), { force: true }),

    /** Removes the files of an import. What a killed process left beside them goes with the next `sweep`. */
    async drop(uid: string): Promise<void> {
      await Promise.all([uploadPath(uid), pairsPath(uid)].map((path) => rm(path, { force: true })));
    },

    /** Removes what belongs to none of the given imports: a process may have been killed before it could tidy up. */
    async sweep(uids: ReadonlySet<string>): Promise<void> {
      for (const name of await readdir(folder)) {
        if (!uids.has(name.slice(0, name.indexOf('.')))) await rm(join(folder, name), { force: true });
      }
    },
  };
}

/** Appends a chunk, or as much of it as the disk holds; throws DISK_FULL. */
async function appendTo(file: FileHandle, chunk: Uint8Array): Promise<number> {
  for (let at = 0; at < chunk.length;) {
    at += (await file.write(chunk, at).catch(throwDiskFull)).bytesWritten;
  }
  return chunk.length;
}

/** Throws DISK_FULL for an error that says so, else the error itself. */
export function throwDiskFull(error: unknown): never {
  const { code = '' } = error as NodeJS.ErrnoException;
  if (code !== 'ENOSPC' && code !== 'EDQUOT') throw error;
  throw new PairwiseError('DISK_FULL', 'the disk of PAIRWISE_DATA is full; free some space, then go on', {
    cause: error,
  });
}
