import type { ModelFolder } from '@pairwise/safetensors';

export interface ModelFile {
  /** A name without a folder: files in subfolders are not part of a model. */
  path: string;
  sizeBytes: number;
  /** What its content must hash to, where the hub says so (all weights, no small files). */
  digest?: `sha256:${string}`;
}

/** A model's files on this machine. */
export interface LocalModel {
  /** The folder. */
  path: string;
  files: readonly ModelFile[];
  /** The content of a file, in chunks. Throws INVALID_FILE if the file changed since. */
  stream(path: string): AsyncIterable<Uint8Array>;
}

export interface DownloadOptions {
  /** Called for every chunk: bytes of the model that are on this machine, of all. */
  onProgress?: (progress: { receivedBytes: number; totalBytes: number }) => void;
  signal?: AbortSignal | undefined;
}

/**
 * A model whose files are known and can be read by range, without having been brought here: `readBaseModel` of
 * libs/engine/model inspects it. The files are those that a model consists of; pickles and others are left out.
 */
export interface OpenedModel extends ModelFolder {
  files: readonly ModelFile[];
  /** Hub repository and commit, if it comes from one. */
  repoId?: string;
  commit?: string;
  /** Brings all files here; what is here already is not fetched again. Folders return themselves. */
  download(options?: DownloadOptions): Promise<LocalModel>;
}
