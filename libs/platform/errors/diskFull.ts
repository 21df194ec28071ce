import { PairwiseError } from './error.ts';

/**
 * Returns DISK_FULL with this message if an error of the file system means that (disk full or quota exceeded), else the
 * error itself.
 */
export function asDiskFull(error: unknown, message: string): unknown {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOSPC' || code === 'EDQUOT' ? new PairwiseError('DISK_FULL', message, { cause: error }) : error;
}
