import { readFileSync, readdirSync } from 'node:fs';

/** The pids of a process and of all that descend from it, by what they are. */
export interface Family {
  node: number[];
  /** The server, its workers and a process for each connection. */
  postgres: number[];
}

interface Process {
  name: string;
  parent: number;
  ticks: number;
}

/** Of /proc/<pid>/stat, with what ended children used; undefined for a process that is gone. */
function read(pid: number): Process | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const [open, close] = [text.indexOf('('), text.lastIndexOf(')')];
    // From `state` on, which is the third of them.
    const fields = text.slice(close + 2).split(' ');
    const ticks = fields.slice(11, 15).reduce((total, field) => total + Number(field), 0);
    return { name: text.slice(open + 1, close), parent: Number(fields[1]), ticks };
  } catch {
    return undefined;
  }
}

export function familyOf(root: number): Family {
  const children = new Map<number, number[]>();
  const names = new Map<number, string>();
  for (const entry of readdirSync('/proc')) {
    const found = /^\d+$/.test(entry) ? read(Number(entry)) : undefined;
    if (found === undefined) continue;
    names.set(Number(entry), found.name);
    children.set(found.parent, [...(children.get(found.parent) ?? []), Number(entry)]);
  }
  const all = [root];
  // Grows while it is walked.
  for (const pid of all) all.push(...(children.get(pid) ?? []));
  const isPostgres = (pid: number) => names.get(pid)?.startsWith('postgres') === true;
  return { node: all.filter((pid) => !isPostgres(pid)), postgres: all.filter(isPostgres) };
}

/** Processor time that processes have used, in the kernel and outside. Linux counts 100 ticks a second everywhere. */
export function cpuSeconds(pids: readonly number[]): number {
  return pids.reduce((total, pid) => total + (read(pid)?.ticks ?? 0) / 100, 0);
}

/** Proportional set size of processes; needs the right to look into them, as their own user has it. */
export function pssMb(pids: readonly number[]): number {
  return pids.reduce((total, pid) => {
    try {
      return total + Number(/^Pss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))![1]) / 1024;
    } catch {
      return total;
    }
  }, 0);
}

/** How many of Postgres's processes serve a connection. */
export function connections(pids: readonly number[]): number {
  return pids.filter((pid) => {
    try {
      return / \d+\.\d+\.\d+\.\d+\(\d+\) /.test(readFileSync(`/proc/${pid}/cmdline`, 'latin1'));
    } catch {
      return false;
    }
  }).length;
}
