import { readFileSync } from 'node:fs';
import { PairwiseError } from '@pairwise/errors';

export interface ReloadLog {
  error(fields: object, message: string): void;
}

/**
 * How long a value is used before its files are checked again. Kubernetes replaces files by switching links, which file
 * watchers do not report.
 */
const checkMs = 1000;

function read(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    const { code = 'unknown' } = error as NodeJS.ErrnoException;
    throw new PairwiseError('INVALID_ARGUMENT', `${path} cannot be read (${code})`, { cause: error });
  }
}

/**
 * Returns a function that returns the parsed contents of files. When called, at most once a second, it checks the files
 * and parses them again if they changed. If `parse` refuses the new contents, that is logged once and the value stays
 * as it was. The first reading throws what `parse` throws, and INVALID_ARGUMENT for a file that cannot be read.
 */
export function reloaded<T>(files: readonly string[], parse: (contents: Buffer[]) => T, log: ReloadLog): () => T {
  let seen = files.map(read);
  let value = parse(seen);
  let checkedMs = Date.now();
  let logged = '';
  return () => {
    if (Date.now() - checkedMs < checkMs) return value;
    checkedMs = Date.now();
    try {
      const now = files.map(read);
      if (now.every((bytes, index) => bytes.equals(seen[index]!))) return value;
      // A certificate and a key may not match while they are being replaced; the next check sees both.
      value = parse(now);
      seen = now;
      logged = '';
    } catch (error) {
      const { message } = error as Error;
      if (message !== logged) log.error({ err: error, files }, `keeping the previous contents: ${message}`);
      logged = message;
    }
    return value;
  };
}
