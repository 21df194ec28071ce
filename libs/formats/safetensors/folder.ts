import { PairwiseError } from '@pairwise/errors';

/** A model folder in Hugging Face layout: the names and sizes of its files, and their bytes by range. */
export interface ModelFolder {
  files: readonly { path: string; sizeBytes: number }[];
  /** Bytes `start` to `end` (exclusive) of a file. */
  read(path: string, start: number, end: number): Promise<Uint8Array>;
}

/** The largest text file of a model, in bytes. The tokenizer.json of the largest vocabularies has about 30 MB. */
export const maxTextBytes = 64 * 1024 * 1024;

/**
 * The text of a file of a model folder; undefined if it does not exist. Throws INVALID_MODEL for a file of more than
 * `maxTextBytes`, or one that is not valid UTF-8.
 */
export async function readText({ files, read }: ModelFolder, path: string): Promise<string | undefined> {
  const file = files.find((each) => each.path === path);
  if (file === undefined) return undefined;
  if (file.sizeBytes > maxTextBytes) {
    throw unusable(path, `has ${file.sizeBytes} bytes; at most ${maxTextBytes} are allowed`);
  }
  return decodeText(await read(path, 0, file.sizeBytes), path);
}

/** The JSON of a file of a model folder; undefined if it does not exist. Throws INVALID_MODEL. */
export async function readJson(folder: ModelFolder, path: string): Promise<unknown> {
  const text = await readText(folder, path);
  return text === undefined ? undefined : parseJson(text, path);
}

/** The JSON in the bytes of a model's file. Throws INVALID_MODEL. */
export function decodeJson(bytes: Uint8Array, path: string): unknown {
  return parseJson(decodeText(bytes, path), path);
}

function decodeText(bytes: Uint8Array, path: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw unusable(path, 'is not valid UTF-8', cause);
  }
}

function parseJson(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw unusable(path, 'is not valid JSON', cause);
  }
}

function unusable(path: string, problem: string, cause?: unknown): PairwiseError {
  return new PairwiseError('INVALID_MODEL', `${path} ${problem}`, { field: path, cause });
}
