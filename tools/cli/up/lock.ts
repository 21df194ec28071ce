import { execFileSync } from 'node:child_process';
import { chmodSync, linkSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PairwiseError } from '@pairwise/errors';

/**
 * When a process started, in the system's own format. Together with the pid it identifies a process uniquely. Undefined
 * for a process that has ended, also if it is still a zombie, as in a container whose first process reaps none.
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

/** Pid of the running process that holds a lock, if any. */
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

function createFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    const message = `the data folder ${folder} cannot be created (${codeOf(error) ?? String(error)}); choose another with --data`;
    throw new PairwiseError('INVALID_ARGUMENT', message, { field: 'PAIRWISE_DATA', cause: error });
  }
}

/** Writes the lock atomically. Returns false if there is one already. */
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

/** Removes the lock of a process that has ended. */
function removeStale(path: string): void {
  const stale = `${path}.stale.${process.pid}`;
  try {
    renameSync(path, stale);
    // Another process that starts at the same moment may have written its own lock in between.
    if (holderOf(stale) !== undefined) linkSync(stale, path);
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
  }
  rmSync(stale, { force: true });
}

/**
 * Locks a data folder for this process; the returned function releases it. The lock of a process that has ended is
 * ignored. Throws IN_USE with the pid of a running holder, and INVALID_ARGUMENT for an unusable folder.
 */
export function lockFolder(folder: string): () => void {
  createFolder(folder);
  const path = join(folder, 'lock');
  while (!tryLock(path)) {
    const holder = holderOf(path);
    if (holder !== undefined) {
      const message = `process ${holder} is running Pairwise on ${folder}; stop it first, or choose another folder with --data`;
      throw new PairwiseError('IN_USE', message, { metadata: { pid: String(holder) } });
    }
    removeStale(path);
  }
  return () => rmSync(path, { force: true });
}

/**
 * Makes a data folder private, including one that an earlier version left readable for everyone. Returns false if others can
 * still read it: it belongs to another user, and only its owner may change it.
 */
export function closeFolder(folder: string): boolean {
  try {
    chmodSync(folder, 0o700);
  } catch (error) {
    if (codeOf(error) !== 'EPERM') throw error;
  }
  return (statSync(folder).mode & 0o077) === 0;
}
