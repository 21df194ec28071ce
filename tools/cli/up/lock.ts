import { execFileSync } from 'node:child_process';
import { chmodSync, linkSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PairwiseError } from '@pairwise/errors';

/**
 * When a process started, in whatever form the system tells it: with the pid it names a process for ever. Undefined for
 * one that is gone, be it that nobody has asked yet how it ended, as in a container whose first process asks for none.
 */
function startOf(pid: number): string | undefined {
  try {
    if (process.platform !== 'linux') {
      return execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8' }).trim();
    }
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

const identity = (pid: number, start: string | undefined) => `${pid} ${start ?? ''}`.trim();

/** The pid of the living process that holds a lock, if there is one. */
function holderOf(path: string): number | undefined {
  try {
    const text = readFileSync(path, 'utf8').trim();
    const pid = Number(text.split(' ')[0]);
    const start = startOf(pid);
    return start !== undefined && text === identity(pid, start) ? pid : undefined;
  } catch {
    return undefined;
  }
}

const codeOf = (error: unknown) => (error as NodeJS.ErrnoException).code;

function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    const message = `the data folder ${folder} cannot be made (${codeOf(error) ?? String(error)}); choose another with --data`;
    throw new PairwiseError('INVALID_ARGUMENT', message, { field: 'PAIRWISE_DATA', cause: error });
  }
}

/** Writes the lock in one stroke, so that nobody sees it half-written. False if there is one already. */
function tryLock(path: string): boolean {
  const own = `${path}.${process.pid}`;
  try {
    writeFileSync(own, `${identity(process.pid, startOf(process.pid))}\n`, { mode: 0o600 });
    linkSync(own, path);
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    const message = `the data folder cannot be written to (${codeOf(error) ?? String(error)} at ${path}); choose another with --data`;
    throw new PairwiseError('INVALID_ARGUMENT', message, { field: 'PAIRWISE_DATA', cause: error });
  } finally {
    rmSync(own, { force: true });
  }
}

/** Removes the lock of a process that is gone. */
function takeAway(path: string): void {
  const stale = `${path}.stale.${process.pid}`;
  try {
    renameSync(path, stale);
    // Another one that starts at this moment may have put its own there in between.
    if (holderOf(stale) !== undefined) linkSync(stale, path);
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
  }
  rmSync(stale, { force: true });
}

/**
 * Makes a data folder this process's own, until the returned function gives it back. The lock of a process that is gone
 * counts for nothing. Throws IN_USE with the pid of a living holder, INVALID_ARGUMENT for a folder that cannot be used.
 */
export function lockFolder(folder: string): () => void {
  makeFolder(folder);
  const path = join(folder, 'lock');
  while (!tryLock(path)) {
    const holder = holderOf(path);
    if (holder !== undefined) {
      const message = `process ${holder} runs Pairwise on ${folder}; stop it first, or choose another folder with --data`;
      throw new PairwiseError('IN_USE', message, { metadata: { pid: String(holder) } });
    }
    takeAway(path);
  }
  return () => rmSync(path, { force: true });
}

/**
 * Closes a data folder to other users, also one that an earlier version made for all to read. False where others can
 * look into it all the same: it belongs to another user, who alone may close it.
 */
export function closeFolder(folder: string): boolean {
  try {
    chmodSync(folder, 0o700);
  } catch (error) {
    if (codeOf(error) !== 'EPERM') throw error;
  }
  return (statSync(folder).mode & 0o077) === 0;
}
