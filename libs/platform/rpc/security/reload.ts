import { readFileSync } from 'node:fs';
import { PairwiseError } from '@pairwise/errors';

export interface ReloadLog {
  error(fields: object, message: string): void;
}

/** How long a value that was read from files is used. Kubernetes replaces files by switching links, which no watch reports. */
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
 * What files hold, read again once they have changed; they are checked when the value is asked for, at most once a
 * second. New contents that `parse` refuses are logged once, and the value stays as it was. Throws at
 * first what `parse` throws, and INVALID_ARGUMENT for a file that cannot be read.
 */
export function reloaded<T>(files: readonly string[], parse: (contents: Buffer[]) => T, log: ReloadLog): () => T {
  let seen = files.map(read);
  let value = parse(seen);
  let looked = Date.now();
  let logged = '';
  return () => {
    if (Date.now() - looked < lookMs) return value;
    looked = Date.now();
    try {
      const now = files.map(read);
      if (now.every((bytes, index) => bytes.equals(seen[index]!))) return value;
      // Pairs that are replaced in between do not fit; the next look sees both.
      value = parse(now);
      seen = now;
      logged = '';
    } catch (error) {
      const { message } = error as Error;
      if (message !== logged) log.error({ err: error, files }, `what was read before stays in use: ${message}`);
      logged = message;
    }
    return value;
  };
}
