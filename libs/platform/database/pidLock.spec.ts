import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { claim } from './staleServer.ts';

test.runIf(process.platform === 'linux')('a zombie does not own a folder', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'pairwise-zombie-'));
  // The shell replaces itself with a program that never waits for its child.
  const parent = spawn('/bin/sh', ['-c', 'cat <&3 & echo $!; exec sleep 300'], {
    stdio: ['ignore', 'pipe', 'inherit', 'pipe'],
  });
  onTestFinished(() => {
    parent.kill('SIGKILL');
    rmSync(folder, { recursive: true });
  });
  const [line] = (await once(createInterface(parent.stdout!), 'line')) as [string];
  const stat = () => readFileSync(`/proc/${line}/stat`, 'utf8').split(') ')[1]!.split(' ');
  writeFileSync(join(folder, 'owner'), `${line} ${stat()[19]}\n`);
  expect(() => claim(folder)).toThrow(expect.objectContaining({ reason: 'IN_USE' }) as Error);
  process.kill(Number(line), 'SIGKILL');
  while (stat()[0] !== 'Z') await sleep(10);
  claim(folder);
  expect(readFileSync(join(folder, 'owner'), 'utf8')).toMatch(new RegExp(`^${process.pid} `));
});
