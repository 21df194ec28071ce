import type { ModelFolder } from '@pairwise/safetensors';

export interface ModelFile {
  /** A name without a folder: files in subfolders are not part of a model. */
  path: string;
  sizeBytes: number;
  /** The digest of its content, if the hub states it: for weights, but not for small files. */
  digest?: `sha256:${string}`;
}

/** A model's files on this machine. */
export interface LocalModel {
  /** The folder. */
  path: string;
  files: readonly ModelFile[];
  /** The content of a file, in chunks. Throws INVALID_FILE if the file has changed. */
  stream(path: string): AsyncIterable<Uint8Array>;
}

export interface DownloadOptions {
  /** Called for every chunk with the bytes of the model on this machine, and its size. */
  onProgress?: (progress: { receivedBytes: number; totalBytes: number }) => void;
  signal?: AbortSignal | undefined;
}

/**
 * A model whose files are known and can be read by range without downloading them, so that `readBaseModel` of
 * libs/engine/model can inspect it. `files` leaves out pickles and whatever else does not belong to a model.
 */
export interface OpenedModel extends ModelFolder {
  files: readonly ModelFile[];
  /** Hub repository and commit, if it comes from one. */
  repoId?: string;
  commit?: string;
  /** Downloads the files that are not on this machine. For a folder there is nothing to download. */
  download(options?: DownloadOptions): Promise<LocalModel>;
}
