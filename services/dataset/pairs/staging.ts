import { createReadStream } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { asDiskFull } from '@pairwise/errors';
import { digestOfStream, type Digest } from '@pairwise/fingerprint';

/** An upload is flushed to disk whenever this many new bytes have arrived. */
const syncBytes = 8 * 1024 * 1024;

/** A file that is being uploaded. */
export interface Upload {
  /** Bytes received so far. */
  sizeBytes(): number;
  /** Throws DISK_FULL; bytes of earlier chunks are kept. */
  append(chunk: Uint8Array): Promise<void>;
  /** Flushes everything to disk. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

/**
 * The folder that holds uploads, and the pairs of imports until they are sealed: two files per import, named after its
 * uid. The size of an upload's file is the number of bytes that have been received.
 */
export interface Staging {
  /** Path of an import's upload. */
  uploadPath(uid: string): string;
  /** Path of an import's accepted pairs. */
  pairsPath(uid: string): string;
  /** Opens an upload to resume it, or creates it. */
  open(uid: string): Promise<Upload>;
  /** Returns how many bytes of an upload are safely on disk. */
  committedBytes(uid: string): Promise<number>;
  /** Returns the digest of an upload. */
  digest(uid: string): Promise<Digest>;
  /** Removes an import's upload but not its pairs. */
  dropUpload(uid: string): Promise<void>;
  /** Removes an import's upload and pairs. Temporary files of a killed process remain until the next `sweep`. */
  drop(uid: string): Promise<void>;
  /** Removes every file that does not belong to one of these imports. */
  sweep(uids: ReadonlySet<string>): Promise<void>;
}

export async function openStaging(folder: string): Promise<Staging> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const uploadPath = (uid: string) => join(folder, `${uid}.upload`);
  const pairsPath = (uid: string) => join(folder, `${uid}.pairs`);
  return {
    uploadPath,
    pairsPath,
    open: (uid) => openUpload(uploadPath(uid)),
    async committedBytes(uid) {
      try {
        await using file = await open(uploadPath(uid), 'r');
        await file.datasync();
        return (await file.stat()).size;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0;
        throw error;
      }
    },
    digest: (uid) => digestOfStream(createReadStream(uploadPath(uid)) as AsyncIterable<Buffer>),
    dropUpload: (uid) => rm(uploadPath(uid), { force: true }),
    async drop(uid) {
      await Promise.all([uploadPath(uid), pairsPath(uid)].map((path) => rm(path, { force: true })));
    },
    async sweep(uids) {
      for (const name of await readdir(folder)) {
        if (!uids.has(name.slice(0, name.indexOf('.')))) await rm(join(folder, name), { force: true });
      }
    },
  };
}

async function openUpload(path: string): Promise<Upload> {
  const file = await open(path, 'a', 0o600);
  let { size } = await file.stat();
  let synced = 0;
  const sync = async () => {
    await file.datasync().catch(throwDiskFull);
    synced = size;
  };
  // A process that was killed may have written bytes without flushing them.
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
}

async function appendTo(file: FileHandle, chunk: Uint8Array): Promise<number> {
  for (let at = 0; at < chunk.length;) {
    at += (await file.write(chunk, at).catch(throwDiskFull)).bytesWritten;
  }
  return chunk.length;
}

/** Throws DISK_FULL for errors that mean it, and all other errors unchanged. */
export function throwDiskFull(error: unknown): never {
  throw asDiskFull(error, 'the disk of PAIRWISE_DATA is full; free some space, then resume the upload');
}
