import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { PairwiseError } from '@pairwise/errors';

const linux = process.platform === 'linux';

function unlessGone<T>(ask: () => T): T | undefined {
  try {
    return ask();
  } catch {
    return undefined;
  }
}

const ps = (pid: number, column: string) =>
  unlessGone(() => execFileSync('ps', ['-o', `${column}=`, '-p', String(pid)], { encoding: 'utf8' }).trim());

function commandOf(pid: number): string | undefined {
  if (!linux) return ps(pid, 'command');
  return unlessGone(() => readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' '));
}

/** When the process started, in the system's own form: with the pid it identifies a process permanently. */
function startOf(pid: number): string | undefined {
  if (!linux) return ps(pid, 'lstart');
  const stat = unlessGone(() => readFileSync(`/proc/${pid}/stat`, 'utf8'));
  return stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
}

function signal(pid: number, name: NodeJS.Signals): void {
  // It may just have ended.
  unlessGone(() => process.kill(pid, name));
}

/** Records this process as the owner of a database folder; throws IN_USE while another living process is. */
export function claim(folder: string): void {
  const path = join(folder, 'owner');
  const [pid, start] = existsSync(path) ? readFileSync(path, 'utf8').trim().split(' ') : [];
  const other = Number(pid);
  if (other > 0 && other !== process.pid && start !== undefined && startOf(other)?.replaceAll(' ', '_') === start) {
    throw new PairwiseError('IN_USE', `process ${other} is using the database in ${folder}; stop it first`);
  }
  writeFileSync(path, `${process.pid} ${startOf(process.pid)?.replaceAll(' ', '_') ?? ''}\n`, { mode: 0o600 });
}

/** The pid of the server that runs on a cluster although nobody looks after it, if there is one. */
function orphanOf(cluster: string): number | undefined {
  const pid = Number(unlessGone(() => readFileSync(join(cluster, 'postmaster.pid'), 'utf8'))?.split('\n')[0]);
  // The file outlives a killed server, and its pid may since be anybody's.
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
 * Ends what a killed server left behind: its backends go by themselves as a rule, but one in the middle of a long
 * statement keeps the shared memory, and no new server starts beside it. Postgres's processes work in the data folder.
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
