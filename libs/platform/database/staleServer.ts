import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { PairwiseError } from '@pairwise/errors';
import { takePidLock } from './pidLock.ts';

const linux = process.platform === 'linux';

function unlessGone<T>(ask: () => T): T | undefined {
  try {
    return ask();
  } catch {
    return undefined;
  }
}

function commandOf(pid: number): string | undefined {
  return unlessGone(() =>
    linux
      ? readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
      : execFileSync('ps', ['-o', 'command=', '-p', String(pid)], { encoding: 'utf8' }).trim(),
  );
}

function signal(pid: number, name: NodeJS.Signals): void {
  // It may have just ended.
  unlessGone(() => process.kill(pid, name));
}

/** Makes this process the owner of a database folder. Throws IN_USE while another running process owns it. */
export function claim(folder: string): void {
  const owner = takePidLock(join(folder, 'owner'));
  if (owner === undefined || owner === process.pid) return;
  throw new PairwiseError('IN_USE', `process ${owner} is using the database in ${folder}; stop it first`);
}

/** The pid of a server that is running on a cluster without an owner, if there is one. */
function orphanOf(cluster: string): number | undefined {
  const pid = Number(unlessGone(() => readFileSync(join(cluster, 'postmaster.pid'), 'utf8'))?.split('\n')[0]);
  // The file outlives a killed server, and another process may have its pid by now.
  return pid > 0 && commandOf(pid)?.includes(cluster) === true ? pid : undefined;
}

/** Stops a server that was left running when its owner was killed: gracefully, and after 10 s by force. */
export async function stopOrphan(cluster: string): Promise<void> {
  const pid = orphanOf(cluster);
  if (pid === undefined) return;
  signal(pid, 'SIGINT');
  for (let waitedMs = 0; orphanOf(cluster) === pid; waitedMs += 50) {
    if (waitedMs === 10_000) signal(pid, 'SIGQUIT');
    if (waitedMs === 15_000) signal(pid, 'SIGKILL');
    if (waitedMs > 20_000) throw new PairwiseError('IN_USE', `Postgres (process ${pid}) on ${cluster} does not stop`);
    await sleep(50);
  }
}

/**
 * Ends the backends that a killed server left behind. They usually exit by themselves, but one in the middle of a long
 * statement keeps the shared memory, and no new server can start next to it. Their working directory is the data
 * folder.
 */
export function endBackends(cluster: string): void {
  if (!linux) return;
  for (const pid of readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)) {
    const works = unlessGone(() => readlinkSync(`/proc/${pid}/cwd`)) === cluster;
    if (works && commandOf(pid)?.startsWith('postgres:') === true) signal(pid, 'SIGQUIT');
  }
}
