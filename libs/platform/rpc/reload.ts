import { readFileSync } from 'node:fs';
import { PairwiseError } from '@pairwise/errors';

export interface ReloadLog {
  error(fields: object, message: string): void;
}

/** How long what was read from files is good. Kubernetes replaces files by turning links around, which no watch tells of. */
const lookMs = 1000;

function read(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    const { code = 'unknown' } = error as NodeJS.ErrnoException;
    throw new PairwiseError('INVALID_ARGUMENT', `${path} cannot be read (${code})`, { cause: error });
  }
}

/**
 * What files hold, read anew once they have changed; they are looked at when the value is asked for, at most once a
 * second. New contents that `parse` does not take are told to the log once, and the value stays what it was. Throws at
 * first what `parse` throws, and INVALID_ARGUMENT for a file that cannot be read.
 */
export function reloaded<T>(files: readonly string[], parse: (contents: Buffer[]) => T, log: ReloadLog): () => T {
  let seen = files.map(read);
  let value = parse(seen);
  let looked = Date.now();
  let told = '';
  return () => {
    if (Date.now() - looked < lookMs) return value;
    looked = Date.now();
    try {
      const now = files.map(read);
      if (now.every((bytes, index) => bytes.equals(seen[index]!))) return value;
      // Pairs that are replaced in between do not fit; the next look sees both.
      value = parse(now);
      seen = now;
      told = '';
    } catch (error) {
      const { message } = error as Error;
      if (message !== told) log.error({ err: error, files }, `what was read before stays in use: ${message}`);
      told = message;
    }
    return value;
  };
}
