import { readFile } from 'node:fs/promises';
import type { Platform } from 'pairwise/up/platform';
import { processes } from 'pairwise/up/processes';

const everyMs = 250;

/**
 * Measures the resident memory of the platform's processes, Postgres's first process and this one, all together. The
 * returned function stops measuring and returns the peak in MB, or 0 on systems without /proc.
 */
export function watchMemory(platform: Platform): () => number {
  let most = 0;
  const measure = async () => {
    const names = ['postgres' as const, ...processes.map(({ name }) => name)];
    const pids = [process.pid, ...names.flatMap((name) => platform.pid(name) ?? [])];
    const sizes = await Promise.all(pids.map(residentMb));
    const total = sizes.reduce((sum, size) => sum + size, 0);
    if (total > 0) most = Math.max(most, total);
  };
  // The timer must not keep the process alive.
  const timer = setInterval(() => void measure(), everyMs).unref();
  return () => {
    clearInterval(timer);
    return most;
  };
}

/** Resident memory of a process in MB; 0 if it has just ended. */
async function residentMb(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) / 1000;
}
