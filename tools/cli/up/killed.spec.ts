import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';

let folder = '';
let up: ChildProcess | undefined;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'killed-'))));
afterEach(() => {
  up?.kill('SIGKILL');
  rmSync(folder, { recursive: true });
});

/** Starts `pairwise up` and waits until it is up. */
async function start(): Promise<ChildProcess> {
  const program = join(import.meta.dirname, '../main.ts');
  const words = [program, 'up', '--data', join(folder, 'data'), '--listen', '127.0.0.1:0'];
  up = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'inherit'] });
  for await (const line of createInterface({ input: up.stdout! })) {
    if (line.includes('Pairwise is up on')) break;
  }
  up.stdout!.resume();
  return up;
}

/** Command lines of all descendants of a process, by pid, from `ps`. */
function descendants(root: number): Map<number, string> {
  const rows = execFileSync('ps', ['-A', '-o', 'pid=,ppid=,args='], { encoding: 'utf8' }).split('\n');
  const all = rows.flatMap((row) => {
    const [, pid, parent, args = ''] = /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(row) ?? [];
    return pid === undefined ? [] : [{ pid: Number(pid), parent: Number(parent), args }];
  });
  const found = new Map<number, string>();
  const walk = (of: number) => {
    for (const { pid, args } of all.filter(({ parent }) => parent === of)) {
      found.set(pid, args);
      walk(pid);
    }
  };
  walk(root);
  return found;
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

test('killing the supervisor leaves no process behind, and the next start works', async () => {
  const first = await start();
  const family = descendants(first.pid!);
  const commands = [...family.values()];
  for (const part of ['services/orchestrator/main.ts', 'services/training/worker.ts', 'postgres', '/bin/sh']) {
    expect(commands.some((command) => command.includes(part))).toBe(true);
  }
  first.kill('SIGKILL');
  while ([...family.keys()].some(isAlive)) await sleep(50);

  const second = await start();
  second.kill('SIGTERM');
  expect(await once(second, 'exit')).toEqual([0, null]);
});
