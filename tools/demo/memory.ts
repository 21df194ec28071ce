import { readFile } from 'node:fs/promises';
import type { Platform } from 'pairwise/up/platform';
import { processes } from 'pairwise/up/processes';

const everyMs = 250;

/**
 * Watches how much memory the platform's processes, Postgres's first one and this one have resident together. The
 * returned function stops watching and tells the most that it has seen, in MB; 0 where there is no /proc.
 */
export function watchMemory(platform: Platform): () => number {
  let most = 0;
  const look = async () => {
    const names = ['postgres' as const, ...processes.map(({ name }) => name)];
    const pids = [process.pid, ...names.flatMap((name) => platform.pid(name) ?? [])];
    const sizes = await Promise.all(pids.map(residentMb));
    const total = sizes.reduce((sum, size) => sum + size, 0);
    if (total > 0) most = Math.max(most, total);
  };
  // Watching must not keep the process alive.
  const timer = setInterval(() => void look(), everyMs).unref();
  return () => {
    clearInterval(timer);
    return most;
  };
}

/** Memory of a process in MB; 0 for one that has just ended. */
async function residentMb(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) / 1000;
}
