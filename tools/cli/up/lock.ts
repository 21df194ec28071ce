import { chmodSync, mkdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { takePidLock } from '@pairwise/database';
import { PairwiseError } from '@pairwise/errors';

const errnoOf = (error: unknown) => (error as NodeJS.ErrnoException).code;

function createFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    const message = `the data folder ${folder} cannot be created (${errnoOf(error) ?? String(error)}); choose another with --data`;
    throw new PairwiseError('INVALID_ARGUMENT', message, { field: 'PAIRWISE_DATA', cause: error });
  }
}

/**
 * Locks a data folder for this process; the returned function releases it. The lock of a process that has ended is
 * ignored. Throws IN_USE with the pid of a running holder, and INVALID_ARGUMENT for an unusable folder.
 */
export function lockFolder(folder: string): () => void {
  createFolder(folder);
  const path = join(folder, 'lock');
  let holder: number | undefined;
  try {
    holder = takePidLock(path);
  } catch (error) {
    const message = `the data folder cannot be written to (${errnoOf(error) ?? String(error)} at ${path}); choose another with --data`;
    throw new PairwiseError('INVALID_ARGUMENT', message, { field: 'PAIRWISE_DATA', cause: error });
  }
  if (holder === undefined) return () => rmSync(path, { force: true });
  const message = `process ${holder} is running Pairwise on ${folder}; stop it first, or choose another folder with --data`;
  throw new PairwiseError('IN_USE', message, { metadata: { pid: String(holder) } });
}

/**
 * Makes a data folder private, including one that an earlier version left readable for everyone. Returns false if others can
 * still read it: it belongs to another user, and only its owner may change it.
 */
export function closeFolder(folder: string): boolean {
  try {
    chmodSync(folder, 0o700);
  } catch (error) {
    if (errnoOf(error) !== 'EPERM') throw error;
  }
  return (statSync(folder).mode & 0o077) === 0;
}
