import type { Digest } from '@pairwise/fingerprint';

/** What a stored blob is to be checked against; every mismatch leaves nothing behind. */
export interface PutOptions {
  /** What the bytes must hash to; otherwise DIGEST_MISMATCH. If the store has it already, the content is not read. */
  expectedDigest?: Digest;
  /** Most bytes that are accepted; otherwise INVALID_FILE. Default: no limit. */
  maxBytes?: number;
}

/** Immutable blobs, named by the sha256 of their bytes. All methods may be called by many processes at once. */
export interface BlobStore {
  /**
   * Stores bytes and tells their digest; they are on the disk when it returns, or not there at all.
   * Costs no write where the blob exists. Throws DISK_FULL, DIGEST_MISMATCH, INVALID_FILE.
   */
  put(
    content: Uint8Array | AsyncIterable<Uint8Array>,
    options?: PutOptions,
  ): Promise<{ digest: Digest; sizeBytes: number }>;
  /**
   * The whole blob, verified. Throws NOT_FOUND, or DIGEST_MISMATCH where the bytes were damaged: the blob is then set
   * aside, so that a repeated `put` restores it.
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
  /** Path of the blob for code that maps files into memory. It is read-only and not checked. Throws NOT_FOUND. */
  localPath(digest: Digest): Promise<string>;
  /**
   * Makes a folder in which blobs appear under file names, as hard links (symbolic ones on another file system).
   * A blob is verified when it is linked first. May be repeated, also by several processes at once; a file that is
   * there but is another one is replaced. Throws INVALID_ARGUMENT for a path that leaves the folder, and as `get` does.
   */
  materialise(files: readonly { path: string; digest: Digest }[], folder: string): Promise<void>;
}
