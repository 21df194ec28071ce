import { createReadStream } from 'node:fs';
import { open, rm, stat } from 'node:fs/promises';
import { PairwiseError } from '@pairwise/errors';
import { type Digest, digestOf, digestOfStream, digestStream } from '@pairwise/fingerprint';
import { type S3Place, openBucket } from './bucket.ts';
import { type CacheOptions, openCache } from './cache.ts';
import { alreadyThere, checkSize, chunkBytes, damaged, missing, streamOf, write } from './content.ts';
import type { BlobStore, PutOptions } from './store.ts';

/**
 * A blob store in an S3 bucket: objects named `<prefix>/sha256/ab/cdef...`, and a cache for blobs that are mapped into
 * memory.
 */
export async function openS3(url: string, place: S3Place, cacheOptions: CacheOptions): Promise<BlobStore> {
  const bucket = await openBucket(url, place);
  const cache = await openCache(cacheOptions);

  async function sizeOf(digest: Digest): Promise<number> {
    const found = await bucket.stat(digest);
    if (found === undefined) throw missing(digest);
    return found.sizeBytes;
  }

  /** Deletes a blob whose bytes do not match its digest, if they still differ when read again. Throws. */
  async function discard(digest: Digest, actual: Digest, sizeBytes: number): Promise<never> {
    if ((await digestOfStream(bucket.bytes(digest, 0, sizeBytes))) !== actual) {
      const message = `the blob ${digest} was damaged in transit from ${bucket.place}`;
      throw new PairwiseError('UNAVAILABLE', message, { metadata: { digest } });
    }
    await bucket.delete(digest);
    throw damaged(digest, actual);
  }

  async function* read(digest: Digest, range: { start?: number; end?: number } = {}): AsyncGenerator<Buffer, void> {
    const sizeBytes = await sizeOf(digest);
    const start = range.start ?? 0;
    const end = Math.min(range.end ?? sizeBytes, sizeBytes);
    const whole = start === 0 && end === sizeBytes;
    const hash = digestStream();
    for await (const chunk of bucket.bytes(digest, start, end)) {
      if (whole) hash.update(chunk);
      for (let at = 0; at < chunk.length; at += chunkBytes) yield chunk.subarray(at, at + chunkBytes);
    }
    const actual = hash.digest();
    if (whole && actual !== digest) await discard(digest, actual, sizeBytes);
  }

  async function upload(content: Uint8Array | AsyncIterable<Uint8Array>, options: PutOptions) {
    if (content instanceof Uint8Array) {
      const known = { digest: digestOf(content), sizeBytes: content.byteLength };
      checkSize(known.sizeBytes, options.maxBytes);
      await bucket.put(known.digest, known.sizeBytes, () => streamOf(content));
      return known;
    }
    // The object's name is the digest, which is known only at the end of the stream; until then the content is in a
    // file.
    return cache.spool(async (path) => {
      await using file = await open(path, 'wx', 0o600);
      const written = await write(file, content, options);
      await uploadFile(path, written);
      return written;
    });
  }

  async function uploadFile(path: string, { digest, sizeBytes }: { digest: Digest; sizeBytes: number }) {
    if ((await bucket.stat(digest)) !== undefined) return;
    await bucket.put(digest, sizeBytes, () => createReadStream(path, { highWaterMark: chunkBytes }));
  }

  async function putFile(path: string) {
    try {
      const digest = await digestOfStream(createReadStream(path, { highWaterMark: chunkBytes }));
      const written = { digest, sizeBytes: (await stat(path)).size };
      await uploadFile(path, written);
      return written;
    } finally {
      await rm(path, { force: true });
    }
  }

  return {
    put: async (content, options = {}) =>
      (await alreadyThere(content, options, bucket.stat)) ?? (await upload(content, options)),
    putFile,
    get: async (digest) => Buffer.concat(await Array.fromAsync(read(digest))),
    read,
    stat: bucket.stat,
    has: async (digest) => (await bucket.stat(digest)) !== undefined,
    delete: bucket.delete,
    local: async (digest) => cache.local(digest, await sizeOf(digest), () => read(digest)),
    async close() {
      bucket.close();
      await cache.close();
    },
  };
}
