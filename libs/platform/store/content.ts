import type { FileHandle } from 'node:fs/promises';
import { asDiskFull, PairwiseError } from '@pairwise/errors';
import { type Digest, digestOf, digestStream, hexOf, isDigest } from '@pairwise/fingerprint';
import type { PutOptions } from './store.ts';

/** The size of the chunks that files are read in, in bytes. */
export const chunkBytes = 256 * 1024;

/**
 * Returns a blob's path inside a store or cache: `sha256/ab/cdef...`. Throws INVALID_ARGUMENT for anything but a
 * digest.
 */
export function blobPath(digest: Digest): string {
  if (!isDigest(digest)) throw new PairwiseError('INVALID_ARGUMENT', `${JSON.stringify(digest)} is not a digest`);
  const hex = hexOf(digest);
  return `sha256/${hex.slice(0, 2)}/${hex.slice(2)}`;
}

export const missing = (digest: Digest) =>
  new PairwiseError('NOT_FOUND', `there is no blob ${digest}`, { metadata: { digest } });

export const damaged = (digest: Digest, actual: Digest, cause?: unknown) =>
  new PairwiseError('DAMAGED_DATA', `the blob ${digest} is damaged: its bytes have the digest ${actual}`, {
    metadata: { digest, actual },
    cause,
  });

export const errnoOf = (error: unknown) => (error as NodeJS.ErrnoException).code;

/** Converts an error to DISK_FULL if the disk is full; returns any other error as it is. */
export const fromDisk = (error: unknown, place: string) =>
  asDiskFull(error, `the disk of ${place} is full; free some space`);

/** Throws DIGEST_MISMATCH if a digest is expected and the actual one differs. */
export function expectDigest(actual: Digest, expected: Digest | undefined): void {
  if (expected === undefined || actual === expected) return;
  throw new PairwiseError('DIGEST_MISMATCH', `the content has the digest ${actual}, not ${expected}`, {
    metadata: { actual, expected },
  });
}

/**
 * Returns the digest and size of content that the store already has; undefined if it must be written. Throws
 * DIGEST_MISMATCH.
 */
export async function alreadyThere(
  content: Uint8Array | AsyncIterable<Uint8Array>,
  { expectedDigest, maxBytes = Infinity }: PutOptions,
  stat: (digest: Digest) => Promise<{ sizeBytes: number } | undefined>,
): Promise<{ digest: Digest; sizeBytes: number } | undefined> {
  const digest = content instanceof Uint8Array ? digestOf(content) : expectedDigest;
  if (digest === undefined) return undefined;
  expectDigest(digest, expectedDigest);
  const found = await stat(digest);
  return found !== undefined && found.sizeBytes <= maxBytes ? { digest, ...found } : undefined;
}

/** Throws INVALID_FILE if content is larger than the limit. */
export function checkSize(sizeBytes: number, maxBytes = Infinity): void {
  if (sizeBytes <= maxBytes) return;
  throw new PairwiseError('INVALID_FILE', `the content is larger than the limit of ${maxBytes} bytes`);
}

/** Yields the bytes as a single chunk. */
export async function* streamOf(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(bytes);
}

/**
 * Writes content to an open file; returns the digest and size of what was written. Throws INVALID_FILE,
 * DIGEST_MISMATCH.
 */
export async function write(
  file: FileHandle,
  content: AsyncIterable<Uint8Array>,
  { expectedDigest, maxBytes }: PutOptions = {},
): Promise<{ digest: Digest; sizeBytes: number }> {
  const hash = digestStream();
  let sizeBytes = 0;
  for await (const chunk of content) {
    sizeBytes += chunk.byteLength;
    checkSize(sizeBytes, maxBytes);
    hash.update(chunk);
    for (let at = 0; at < chunk.byteLength;) at += (await file.write(chunk, at)).bytesWritten;
  }
  const digest = hash.digest();
  expectDigest(digest, expectedDigest);
  return { digest, sizeBytes };
}
