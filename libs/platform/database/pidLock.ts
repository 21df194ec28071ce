import { execFileSync } from 'node:child_process';
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';

/**
 * Identifies a process by its pid and start time, since pids are reused. Undefined if the process has ended, even if it is
 * still a zombie, as in a container whose first process does not reap its children.
 */
function identityOf(pid: number): string | undefined {
  let fields: string[];
  try {
    if (process.platform === 'linux') {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      const [state, ...rest] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      fields = [state!, rest[18]!];
    } else {
      const options = ['-o', 'state=', '-o', 'lstart=', '-p', String(pid)];
      fields = execFileSync('ps', options, { encoding: 'utf8' }).trim().split(/\s+/);
    }
  } catch {
    return undefined;
  }
  const [state, ...start] = fields;
  return state!.startsWith('Z') ? undefined : `${pid} ${start.join('_')}`;
}

/** The pid of the running process that holds a lock; undefined if nobody does. */
function holderOf(path: string): number | undefined {
  try {
    const text = readFileSync(path, 'utf8').trim();
    const pid = Number(text.split(' ')[0]);
    return identityOf(pid) === text ? pid : undefined;
  } catch {
    return undefined;
  }
}

const hasCode = (error: unknown, code: string) => (error as NodeJS.ErrnoException).code === code;

/** Writes the lock atomically. Returns false if the file exists. */
function tryLock(path: string): boolean {
  const own = `${path}.${process.pid}`;
  try {
    writeFileSync(own, `${identityOf(process.pid) ?? ''}\n`, { mode: 0o600 });
    linkSync(own, path);
    return true;
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return false;
    throw error;
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
    if (!hasCode(error, 'ENOENT')) throw error;
  }
  rmSync(stale, { force: true });
}

/**
 * Takes a lock, a file with the identity of the process that holds it; delete the file to release it. A lock whose holder
 * has ended is replaced. Returns the pid of the running process that holds the lock, perhaps this one, or undefined if it is
 * now taken. Throws the file system's errors.
 */
export function takePidLock(path: string): number | undefined {
  while (!tryLock(path)) {
    const holder = holderOf(path);
    if (holder !== undefined) return holder;
    removeStale(path);
  }
  return undefined;
}
