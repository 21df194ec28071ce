import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { chmod, mkdir, open, readFile, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Digest, digestOf, digestStream, hexOf } from '@pairwise/fingerprint';
import { alreadyThere, blobPath, chunkBytes, damaged, errnoOf, fromDisk, missing, streamOf, write } from './content.ts';
import type { BlobStore, PutOptions } from './store.ts';

/** No write takes this long; older files were left by a killed process. */
const staleMs = 24 * 3600 * 1000;

async function syncFolder(path: string): Promise<void> {
  const handle = await open(path);
  await handle.sync().finally(() => handle.close());
}

async function sweep(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const path = join(folder, name);
    const age = Date.now() - ((await stat(path).catch(() => undefined))?.mtimeMs ?? Date.now());
    if (age > staleMs) await rm(path, { force: true });
  }
}

/**
 * A blob store in a folder: `sha256/ab/cdef...` contains the blobs, `incoming` what is being written. Only the user who
 * runs the processes can read it.
 */
export async function openFolder(root: string): Promise<BlobStore> {
  const incoming = join(root, 'incoming');
  const aside = join(root, 'damaged');
  for (const folder of [incoming, aside, join(root, 'sha256')]) await mkdir(folder, { recursive: true, mode: 0o700 });
  await sweep(incoming);

  const pathOf = (digest: Digest) => join(root, blobPath(digest));

  async function statOf(digest: Digest): Promise<{ sizeBytes: number } | undefined> {
    try {
      return { sizeBytes: (await stat(pathOf(digest))).size };
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** Moves a blob whose bytes do not match its digest out of the way, and throws. */
  async function setAside(digest: Digest, actual: Digest): Promise<never> {
    await rename(pathOf(digest), join(aside, hexOf(digest))).catch(() => undefined);
    throw damaged(digest, actual);
  }

  async function writeBlob(content: AsyncIterable<Uint8Array>, options: PutOptions) {
    const temporary = join(incoming, randomUUID());
    const file = await open(temporary, 'wx', 0o600);
    try {
      const written = await write(file, content, options)
        .then((done) => file.sync().then(() => done))
        .finally(() => file.close());
      await moveIn(temporary, written.digest);
      return written;
    } catch (error) {
      await rm(temporary, { force: true });
      throw fromDisk(error, 'the blob store');
    }
  }

  /** Makes a complete, synced file the blob of a digest. */
  async function moveIn(temporary: string, digest: Digest): Promise<void> {
    const path = pathOf(digest);
    // It is mapped into memory in place, so nobody may write to it.
    await chmod(temporary, 0o400);
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    await rename(temporary, path);
    await syncFolder(dirname(path));
    await syncFolder(dirname(dirname(path)));
  }

  async function putFile(path: string) {
    const temporary = join(incoming, randomUUID());
    try {
      await rename(path, temporary);
    } catch (error) {
      if (errnoOf(error) !== 'EXDEV') throw error;
      // The file is on another disk.
      const content = createReadStream(path, { highWaterMark: chunkBytes });
      return await writeBlob(content, {}).finally(() => rm(path));
    }
    try {
      const hash = digestStream();
      await using file = await open(temporary);
      for await (const chunk of file.createReadStream({ highWaterMark: chunkBytes, autoClose: false })) {
        hash.update(chunk as Buffer);
      }
      await file.sync();
      const written = { digest: hash.digest(), sizeBytes: (await file.stat()).size };
      await moveIn(temporary, written.digest);
      return written;
    } catch (error) {
      await rm(temporary, { force: true });
      throw fromDisk(error, 'the blob store');
    }
  }

  async function* read(digest: Digest, range: { start?: number; end?: number } = {}): AsyncGenerator<Buffer, void> {
    const found = await statOf(digest);
    if (found === undefined) throw missing(digest);
    const start = range.start ?? 0;
    const end = Math.min(range.end ?? found.sizeBytes, found.sizeBytes);
    const whole = start === 0 && end === found.sizeBytes;
    const hash = digestStream();
    if (start < end) {
      const chunks = createReadStream(pathOf(digest), { start, end: end - 1, highWaterMark: chunkBytes });
      for await (const chunk of chunks as AsyncIterable<Buffer>) {
        if (whole) hash.update(chunk);
        yield chunk;
      }
    }
    const actual = hash.digest();
    if (whole && actual !== digest) await setAside(digest, actual);
  }

  async function existing(digest: Digest): Promise<string> {
    if ((await statOf(digest)) === undefined) throw missing(digest);
    return pathOf(digest);
  }

  return {
    put: async (content, options = {}) =>
      (await alreadyThere(content, options, statOf)) ??
      (await writeBlob(content instanceof Uint8Array ? streamOf(content) : content, options)),
    putFile,
    get: async (digest) => {
      const bytes = await readFile(await existing(digest));
      const actual = digestOf(bytes);
      return actual === digest ? bytes : setAside(digest, actual);
    },
    read,
    stat: statOf,
    has: async (digest) => (await statOf(digest)) !== undefined,
    delete: (digest) => rm(pathOf(digest), { force: true }),
    local: async (digest) => ({ path: await existing(digest), [Symbol.asyncDispose]: () => Promise.resolve() }),
    close: () => Promise.resolve(),
  };
}
