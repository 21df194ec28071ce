import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openFolder } from './index.ts';

// Tests that apply to stores in folders only.

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'pairwise-folder-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test('storing an existing blob keeps its file, since others may have it mapped', async () => {
  const store = await openFolder(folder);
  const { digest } = await store.put(Buffer.from('weights'));
  const inode = async () => statSync((await store.local(digest)).path).ino;
  const before = await inode();
  await store.put(Buffer.from('weights'));
  expect(await inode()).toBe(before);
});

test('a file is moved into the store, not copied, and read-only there', async () => {
  const store = await openFolder(join(folder, 'store'));
  const path = join(folder, 'large');
  writeFileSync(path, 'weights');
  const { ino } = statSync(path);
  const { digest } = await store.putFile(path);
  const stored = statSync((await store.local(digest)).path);
  expect([stored.ino, stored.mode & 0o777]).toEqual([ino, 0o400]);
});

// A second disk: /dev/shm is memory on every Linux.
const otherDisk = existsSync('/dev/shm') && statSync('/dev/shm').dev !== statSync(tmpdir()).dev;
test.skipIf(!otherDisk)('a file on another disk is copied into the store and removed', async () => {
  const store = await openFolder(folder);
  const path = join(mkdtempSync('/dev/shm/pairwise-file-'), 'large');
  try {
    writeFileSync(path, 'weights');
    const { digest } = await store.putFile(path);
    expect((await store.get(digest)).toString()).toBe('weights');
    expect(existsSync(path)).toBe(false);
  } finally {
    rmSync(join(path, '..'), { recursive: true });
  }
});

test('files left by a killed process are removed once they are old', async () => {
  await openFolder(folder);
  for (const name of ['old', 'new']) writeFileSync(join(folder, 'incoming', name), 'x');
  const twoDaysAgo = Date.now() / 1000 - 48 * 3600;
  utimesSync(join(folder, 'incoming/old'), twoDaysAgo, twoDaysAgo);
  await openFolder(folder);
  expect(readdirSync(join(folder, 'incoming'))).toEqual(['new']);
});

// A small file system of our own requires a mount namespace, which not every sandbox allows.
const inNamespace = ['--user', '--map-root-user', '--mount', 'sh', '-c'];
const mount = 'mount -t tmpfs -o size=256k none "$0"';
const canMount = spawnSync('unshare', [...inNamespace, mount, tmpdir()]).status === 0;
if (!canMount) console.warn('SKIPPED: a full disk (this machine allows no mount namespace)');
test.skipIf(!canMount)('a full disk is reported as such and leaves nothing behind', () => {
  const script = join(import.meta.dirname, 'testing.full.ts');
  const command = `${mount} && exec "$1" "$2" "$0"`;
  const printed = execFileSync('unshare', [...inNamespace, command, folder, process.execPath, script], {
    encoding: 'utf8',
  });
  expect(JSON.parse(printed)).toEqual({ reason: 'DISK_FULL', incoming: [], kept: true });
});
