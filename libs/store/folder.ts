import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, chmod, mkdir, open, readFile, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { PairwiseError } from '@pairwise/errors';
import { type Digest, digestOf, isDigest } from '@pairwise/fingerprint';
import { linkFiles } from './materialise.ts';
import type { BlobStore, PutOptions } from './store.ts';

const chunkBytes = 256 * 1024;
/** No write takes so long; what is older was left by a killed process. */
const staleMs = 24 * 3600 * 1000;

const codeOf = (error: unknown) => (error as NodeJS.ErrnoException).code;

function asPairwiseError(error: unknown): unknown {
  if (codeOf(error) !== 'ENOSPC' && codeOf(error) !== 'EDQUOT') return error;
  return new PairwiseError('DISK_FULL', 'the disk of the blob store is full; free some space', { cause: error });
}

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

/** Writes chunks to an open file; digest and size of what was written. */
async function write(file: FileHandle, content: AsyncIterable<Uint8Array>, maxBytes: number) {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  for await (const chunk of content) {
    sizeBytes += chunk.byteLength;
    if (sizeBytes > maxBytes) {
      throw new PairwiseError('INVALID_FILE', `the content is larger than the limit of ${maxBytes} bytes`);
    }
    hash.update(chunk);
    for (let at = 0; at < chunk.byteLength;) at += (await file.write(chunk, at)).bytesWritten;
  }
  await file.sync();
  const digest: Digest = `sha256:${hash.digest('hex')}`;
  return { digest, sizeBytes };
}

/** Reads a stream to its end. */
async function finished(stream: AsyncGenerator): Promise<void> {
  while ((await stream.next()).done !== true);
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(bytes);
}

function expectDigest(actual: Digest, expected: Digest): void {
  if (actual === expected) return;
  throw new PairwiseError('DIGEST_MISMATCH', `the content has the digest ${actual}, not ${expected}`, {
    metadata: { actual, expected },
  });
}

/** A blob store in a folder: `sha256/ab/cdef...` holds the blobs, `incoming` what is being written. */
export async function openFolder(root: string): Promise<BlobStore> {
  const incoming = join(root, 'incoming');
  const damaged = join(root, 'damaged');
  for (const folder of [incoming, damaged, join(root, 'sha256')]) await mkdir(folder, { recursive: true });
  await sweep(incoming);

  function pathOf(digest: Digest): string {
    if (!isDigest(digest)) throw new PairwiseError('INVALID_ARGUMENT', `${JSON.stringify(digest)} is no digest`);
    const hex = digest.slice('sha256:'.length);
    return join(root, 'sha256', hex.slice(0, 2), hex.slice(2));
  }

  const missing = (digest: Digest) =>
    new PairwiseError('NOT_FOUND', `there is no blob ${digest}`, { metadata: { digest } });

  async function statOf(digest: Digest): Promise<{ sizeBytes: number } | undefined> {
    try {
      return { sizeBytes: (await stat(pathOf(digest))).size };
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** Moves a blob that is not what its name says out of the way, and throws. */
  async function setAside(digest: Digest, actual: Digest): Promise<never> {
    await rename(pathOf(digest), join(damaged, digest.slice('sha256:'.length))).catch(() => undefined);
    throw new PairwiseError('DIGEST_MISMATCH', `the blob ${digest} is damaged: its bytes have the digest ${actual}`, {
      metadata: { digest, actual },
    });
  }

  async function put(content: AsyncIterable<Uint8Array>, { expectedDigest, maxBytes }: PutOptions) {
    const temporary = join(incoming, randomUUID());
    const file = await open(temporary, 'wx', 0o600);
    try {
      const written = await write(file, content, maxBytes ?? Infinity).finally(() => file.close());
      if (expectedDigest !== undefined) expectDigest(written.digest, expectedDigest);
      const path = pathOf(written.digest);
      // Hard links share the bytes, so nobody may write to them.
      await chmod(temporary, 0o444);
      await mkdir(dirname(path), { recursive: true });
      await rename(temporary, path);
      await syncFolder(dirname(path));
      await syncFolder(dirname(dirname(path)));
      return written;
    } catch (error) {
      await rm(temporary, { force: true });
      throw asPairwiseError(error);
    }
  }

  async function* read(digest: Digest, range: { start?: number; end?: number } = {}): AsyncGenerator<Buffer, void> {
    const found = await statOf(digest);
    if (found === undefined) throw missing(digest);
    const start = range.start ?? 0;
    const end = Math.min(range.end ?? found.sizeBytes, found.sizeBytes);
    const whole = start === 0 && end === found.sizeBytes;
    const hash = createHash('sha256');
    if (start < end) {
      const chunks = createReadStream(pathOf(digest), { start, end: end - 1, highWaterMark: chunkBytes });
      for await (const chunk of chunks as AsyncIterable<Buffer>) {
        if (whole) hash.update(chunk);
        yield chunk;
      }
    }
    const actual: Digest = `sha256:${hash.digest('hex')}`;
    if (whole && actual !== digest) await setAside(digest, actual);
  }

  async function localPath(digest: Digest): Promise<string> {
    if ((await statOf(digest)) === undefined) throw missing(digest);
    return pathOf(digest);
  }

  return {
    put: async (content, options = {}) => {
      const { expectedDigest, maxBytes = Infinity } = options;
      const digest = content instanceof Uint8Array ? digestOf(content) : expectedDigest;
      if (digest !== undefined) {
        if (expectedDigest !== undefined) expectDigest(digest, expectedDigest);
        const found = await statOf(digest);
        if (found !== undefined && found.sizeBytes <= maxBytes) return { digest, ...found };
      }
      return put(content instanceof Uint8Array ? once(content) : content, options);
    },
    get: async (digest) => {
      const bytes = await readFile(await localPath(digest));
      const actual = digestOf(bytes);
      return actual === digest ? bytes : setAside(digest, actual);
    },
    read,
    stat: statOf,
    has: async (digest) => (await statOf(digest)) !== undefined,
    delete: (digest) => rm(pathOf(digest), { force: true }),
    localPath,
    materialise: async (files, folder) => {
      const verified = async (digest: Digest) => {
        await finished(read(digest));
        return pathOf(digest);
      };
      await linkFiles(files, folder, { localPath, verified }).catch((error: unknown) => {
        throw asPairwiseError(error);
      });
    },
  };
}
