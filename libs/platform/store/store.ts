import type { Digest } from '@pairwise/fingerprint';

/** What a stored blob is to be checked against; every mismatch leaves nothing behind. */
export interface PutOptions {
  /** What the bytes must hash to; otherwise DIGEST_MISMATCH. If the store has it already, the content is not read. */
  expectedDigest?: Digest;
  /** Most bytes that are accepted; otherwise INVALID_FILE. Default: no limit. */
  maxBytes?: number;
}

/** A blob as a file of this machine, which stays where it is until it is given back. */
export interface LocalBlob extends AsyncDisposable {
  /** Read-only: others read the same file. */
  readonly path: string;
}

/** Immutable blobs, named by the sha256 of their bytes. All methods may be called by many processes at once. */
export interface BlobStore {
  /**
   * Stores bytes and tells their digest; they are kept for good when it returns, or not there at all.
   * Costs no write where the blob exists. Throws DISK_FULL, DIGEST_MISMATCH, INVALID_FILE, and UNAVAILABLE where the
   * store is another machine's, as every method does.
   */
  put(
    content: Uint8Array | AsyncIterable<Uint8Array>,
    options?: PutOptions,
  ): Promise<{ digest: Digest; sizeBytes: number }>;
  /**
   * The whole blob, verified. Throws NOT_FOUND, or DIGEST_MISMATCH where the bytes were damaged: the blob is then out of
   * the way, so that a repeated `put` restores it.
   */
  get(digest: Digest): Promise<Buffer>;
  /**
   * Streams bytes `start` (default 0) to `end` (exclusive; default: the size) in chunks of at most 256 KiB. A stream of
   * the whole blob is verified at its end; of a part it cannot be. Throws as `get` does.
   */
  read(digest: Digest, range?: { start?: number; end?: number }): AsyncGenerator<Buffer, void>;
  /** The blob's size in bytes, or undefined where there is none. */
  stat(digest: Digest): Promise<{ sizeBytes: number } | undefined>;
  has(digest: Digest): Promise<boolean>;
  /** Deletes a blob; nothing happens where there is none. */
  delete(digest: Digest): Promise<void>;
  /**
   * The blob for code that maps files into memory: in place, unchecked, or as a verified copy in the local cache.
   * Throws as `get` does, and DISK_FULL where the cache is too small for what this process has open.
   */
  local(digest: Digest): Promise<LocalBlob>;
  /** Gives back what this process holds: connections, and its part in the local cache. */
  close(): Promise<void>;
}
