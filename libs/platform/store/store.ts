import type { Digest } from '@pairwise/fingerprint';

/** How to check the content of a blob. After a mismatch nothing is stored. */
export interface PutOptions {
  /**
   * The digest that the bytes must have, or else DIGEST_MISMATCH. If the store already has the blob, the content is not
   * read.
   */
  expectedDigest?: Digest;
  /** The most bytes to accept, or else INVALID_FILE. Default: no limit. */
  maxBytes?: number;
}

/** A blob as a file on this machine, which stays in place until it is disposed. */
export interface LocalBlob extends AsyncDisposable {
  /** Read-only, since others read the same file. */
  readonly path: string;
}

/** Immutable blobs, named by the sha256 of their bytes. Any number of processes may call all methods at once. */
export interface BlobStore {
  /**
   * Stores bytes and returns their digest. When it returns, they are stored permanently; if it fails, nothing is
   * stored. Writes nothing if the blob exists. Throws DISK_FULL, DIGEST_MISMATCH, INVALID_FILE and, like every method,
   * UNAVAILABLE if the store is on another machine that cannot be reached.
   */
  put(
    content: Uint8Array | AsyncIterable<Uint8Array>,
    options?: PutOptions,
  ): Promise<{ digest: Digest; sizeBytes: number }>;
  /**
   * Stores a file's content like `put` and removes the file, also if it fails. A store in a folder moves the file instead
   * of copying it if both are on the same disk, so that a large file never needs twice its size. Nobody else may use the
   * file.
   */
  putFile(path: string): Promise<{ digest: Digest; sizeBytes: number }>;
  /**
   * Returns the whole blob, verified. Throws NOT_FOUND, or DAMAGED_DATA if the bytes are damaged: the blob is then
   * moved out of the way, so that another `put` restores it.
   */
  get(digest: Digest): Promise<Buffer>;
  /**
   * Streams bytes `start` (default 0) to `end` (exclusive; default: the size) in chunks of at most 256 KiB. The whole
   * blob is verified at the end of the stream; a part cannot be verified. Throws like `get`.
   */
  read(digest: Digest, range?: { start?: number; end?: number }): AsyncGenerator<Buffer, void>;
  /** Returns the blob's size in bytes, or undefined if there is none. */
  stat(digest: Digest): Promise<{ sizeBytes: number } | undefined>;
  has(digest: Digest): Promise<boolean>;
  /** Deletes a blob, if it exists. */
  delete(digest: Digest): Promise<void>;
  /**
   * Provides a blob to code that maps files into memory: in place and unverified, or as a verified copy in the local
   * cache. Throws like `get`, and DISK_FULL if the cache is too small for what this process has open.
   */
  local(digest: Digest): Promise<LocalBlob>;
  /** Releases what this process holds: connections, and its share of the local cache. */
  close(): Promise<void>;
}
