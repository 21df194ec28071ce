import { PairwiseError } from './error.ts';

/** DISK_FULL with this message for an error of the file system that says so (full, or over quota), else the error itself. */
export function asDiskFull(error: unknown, message: string): unknown {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOSPC' || code === 'EDQUOT' ? new PairwiseError('DISK_FULL', message, { cause: error }) : error;
}
