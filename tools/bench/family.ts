import { readFileSync, readdirSync } from 'node:fs';

/** The pids of a process and all its descendants. */
export interface Family {
  node: number[];
  /** The server, its workers and one process per connection. */
  postgres: number[];
}

interface Process {
  name: string;
  parent: number;
  ticks: number;
}

/** Reads /proc/<pid>/stat; undefined if the process has ended. `ticks` includes children that have ended. */
function readStat(pid: number): Process | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const [open, close] = [text.indexOf('('), text.lastIndexOf(')')];
    // Starts with the third field, `state`.
    const fields = text.slice(close + 2).split(' ');
    const ticks = fields.slice(11, 15).reduce((total, field) => total + Number(field), 0);
    return { name: text.slice(open + 1, close), parent: Number(fields[1]), ticks };
  } catch {
    return undefined;
  }
}

/** Finds all descendants of a process in /proc. */
export function familyOf(root: number): Family {
  const children = new Map<number, number[]>();
  const names = new Map<number, string>();
  for (const entry of readdirSync('/proc')) {
    const found = /^\d+$/.test(entry) ? readStat(Number(entry)) : undefined;
    if (found === undefined) continue;
    names.set(Number(entry), found.name);
    children.set(found.parent, [...(children.get(found.parent) ?? []), Number(entry)]);
  }
  const all = [root];
  // The list grows during this loop.
  for (const pid of all) all.push(...(children.get(pid) ?? []));
  const isPostgres = (pid: number) => names.get(pid)?.startsWith('postgres') === true;
  return { node: all.filter((pid) => !isPostgres(pid)), postgres: all.filter(isPostgres) };
}

/** CPU time of processes in seconds, user and system. Linux always counts 100 ticks a second. */
export function cpuSeconds(pids: readonly number[]): number {
  return pids.reduce((total, pid) => total + (readStat(pid)?.ticks ?? 0) / 100, 0);
}

/** Proportional set size of processes in MB. They must belong to the current user, or reading it is not allowed. */
export function pssMb(pids: readonly number[]): number {
  return pids.reduce((total, pid) => {
    try {
      return total + Number(/^Pss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))![1]) / 1024;
    } catch {
      return total;
    }
  }, 0);
}

/** Memory of processes that no file backs, in MB: RssAnon and RssShmem of /proc/<pid>/status. */
export function anonymousMb(pids: readonly number[]): number {
  return pids.reduce((total, pid) => {
    try {
      const status = readFileSync(`/proc/${pid}/status`, 'utf8');
      const sizes = [...status.matchAll(/^Rss(?:Anon|Shmem):\s+(\d+) kB$/gm)];
      return total + sizes.reduce((sum, [, kb]) => sum + Number(kb) / 1024, 0);
    } catch {
      return total;
    }
  }, 0);
}

/** Memory of this process in MB: what no file backs (RssAnon and RssShmem), and what is mapped from files (RssFile). */
export function rssMb(): { anonymous: number; mapped: number } {
  const status = readFileSync('/proc/self/status', 'utf8');
  const mapped = Number(/^RssFile:\s+(\d+) kB$/m.exec(status)![1]) / 1024;
  return { anonymous: anonymousMb([process.pid]), mapped };
}

/** Number of Postgres processes that serve a connection. */
export function connections(pids: readonly number[]): number {
  return pids.filter((pid) => {
    try {
      return / \d+\.\d+\.\d+\.\d+\(\d+\) /.test(readFileSync(`/proc/${pid}/cmdline`, 'latin1'));
    } catch {
      return false;
    }
  }).length;
}
