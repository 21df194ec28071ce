import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { mkdirSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { digestOf } from '@pairwise/fingerprint';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type BlobStore, openBlobStore } from './index.ts';

let folder: string;
let store: BlobStore;
const open = () => openBlobStore(pathToFileURL(join(folder, 'blobs')).href);
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'pairwise-store-'));
  store = await open();
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const bytes = Buffer.alloc(700_001, 'abcdefg');
const digest = digestOf(bytes);
const incoming = () => readdirSync(join(folder, 'blobs/incoming'));

async function* chunks(...parts: Uint8Array[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) yield await Promise.resolve(part);
}

async function collect(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts);
}

function damage(path: string): void {
  chmodSync(path, 0o644);
  const copy = readFileSync(path);
  copy[1000]! ^= 1;
  writeFileSync(path, copy);
}

test('bytes and streams come back under the digest of their content', async () => {
  expect(await store.put(chunks(bytes.subarray(0, 10), bytes.subarray(10)))).toEqual({ digest, sizeBytes: 700_001 });
  expect(await store.put(bytes)).toEqual({ digest, sizeBytes: 700_001 });
  expect((await store.get(digest)).equals(bytes)).toBe(true);
  expect(await store.stat(digest)).toEqual({ sizeBytes: 700_001 });
  expect(statSync(await store.localPath(digest)).mode & 0o777).toBe(0o444);
  expect((await collect(store.read(digest))).equals(bytes)).toBe(true);
  expect((await collect(store.read(digest, { start: 3, end: 300_000 }))).equals(bytes.subarray(3, 300_000))).toBe(true);
  expect((await collect(store.read(digest, { start: 700_000, end: 900_000 }))).length).toBe(1);
  expect(await collect(store.read(digest, { start: 800_000 }))).toHaveLength(0);
  const empty = await store.put(new Uint8Array());
  expect(await collect(store.read(empty.digest))).toHaveLength(0);
  expect(incoming()).toEqual([]);
});

test('a blob that is there is not written again, nor is its content read', async () => {
  await store.put(bytes);
  const { ino } = statSync(await store.localPath(digest));
  const untouched = chunks(bytes);
  await store.put(untouched, { expectedDigest: digest });
  expect((await untouched.next()).done).toBe(false);
  await Promise.all([1, 2, 3].map(() => store.put(bytes)));
  expect(statSync(await store.localPath(digest)).ino).toBe(ino);
});

test('a wrong digest, too many bytes and a broken source leave nothing behind', async () => {
  const other = digestOf(Buffer.from('other'));
  await expect(store.put(chunks(bytes), { expectedDigest: other })).rejects.toMatchObject({
    reason: 'DIGEST_MISMATCH',
  });
  await expect(store.put(bytes, { expectedDigest: other })).rejects.toMatchObject({ reason: 'DIGEST_MISMATCH' });
  await expect(store.put(chunks(bytes), { maxBytes: 700_000 })).rejects.toMatchObject({ reason: 'INVALID_FILE' });
  const broken = (async function* () {
    yield await Promise.resolve(bytes);
    throw new Error('gone');
  })();
  await expect(store.put(broken)).rejects.toThrow('gone');
  expect(incoming()).toEqual([]);
  expect(await store.has(digest)).toBe(false);
  expect(await store.has(other)).toBe(false);
});

test('a missing blob and a name that is no digest are told apart', async () => {
  await expect(store.get(digest)).rejects.toMatchObject({ reason: 'NOT_FOUND' });
  await expect(collect(store.read(digest))).rejects.toMatchObject({ reason: 'NOT_FOUND' });
  await expect(store.localPath(digest)).rejects.toMatchObject({ reason: 'NOT_FOUND' });
  await expect(store.get('sha256:../../x')).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
  await store.delete(digest);
});

test('a flipped bit is noticed, and the blob can be restored', async () => {
  for (const look of [() => store.get(digest), () => collect(store.read(digest))]) {
    await store.put(bytes);
    damage(await store.localPath(digest));
    await expect(look()).rejects.toMatchObject({ reason: 'DIGEST_MISMATCH' });
    expect(await store.has(digest)).toBe(false);
  }
  await store.put(bytes);
  expect((await store.get(digest)).equals(bytes)).toBe(true);
});

test('what a killed process left is swept when it is old', async () => {
  for (const name of ['old', 'new']) writeFileSync(join(folder, 'blobs/incoming', name), 'x');
  const twoDaysAgo = Date.now() / 1000 - 48 * 3600;
  utimesSync(join(folder, 'blobs/incoming/old'), twoDaysAgo, twoDaysAgo);
  await open();
  expect(incoming()).toEqual(['new']);
});

test('materialises a folder of links, again and by several at once', async () => {
  const config = await store.put(Buffer.from('{}'));
  await store.put(bytes);
  const files = [
    { path: 'config.json', digest: config.digest },
    { path: 'onnx/weights.bin', digest },
  ];
  const target = join(folder, 'cache/model');
  await Promise.all([1, 2, 3, 4].map(() => store.materialise(files, target)));
  expect(readFileSync(join(target, 'config.json'), 'utf8')).toBe('{}');
  expect(statSync(join(target, 'onnx/weights.bin')).ino).toBe(statSync(await store.localPath(digest)).ino);
  expect(readdirSync(target).sort()).toEqual(['config.json', 'onnx']);
  rmSync(join(target, 'config.json'));
  writeFileSync(join(target, 'config.json'), 'something else');
  await store.materialise(files, target);
  expect(readFileSync(join(target, 'config.json'), 'utf8')).toBe('{}');
});

test('materialise refuses paths that leave the folder, and damaged blobs', async () => {
  await store.put(bytes);
  for (const path of ['../x', '/x', 'a/../../x', 'a//b', '.', '', 'a\\b', 'a\0b', 'a/']) {
    await expect(store.materialise([{ path, digest }], join(folder, 'm'))).rejects.toMatchObject({
      reason: 'INVALID_ARGUMENT',
    });
  }
  mkdirSync(join(folder, 'm'), { recursive: true });
  symlinkSync(tmpdir(), join(folder, 'm/out'));
  await expect(store.materialise([{ path: 'out/x', digest }], join(folder, 'm'))).rejects.toThrow(/is a link/);
  damage(await store.localPath(digest));
  await expect(store.materialise([{ path: 'x', digest }], join(folder, 'm'))).rejects.toMatchObject({
    reason: 'DIGEST_MISMATCH',
  });
});

test('other kinds of store are refused by name', async () => {
  await expect(openBlobStore('s3://bucket/x')).rejects.toThrow(/s3: is not supported/);
});

// A small file system of our own needs a mount namespace, which not every sandbox allows.
const inNamespace = ['--user', '--map-root-user', '--mount', 'sh', '-c'];
const mount = 'mount -t tmpfs -o size=256k none "$0"';
const canMount = spawnSync('unshare', [...inNamespace, mount, tmpdir()]).status === 0;
if (!canMount) console.warn('SKIPPED: a full disk (this machine allows no mount namespace)');
test.skipIf(!canMount)('a full disk is told as such, and leaves nothing behind', () => {
  const script = join(import.meta.dirname, 'testing.full.ts');
  const command = `${mount} && exec "$1" "$2" "$0"`;
  const told = execFileSync('unshare', [...inNamespace, command, folder, process.execPath, script], {
    encoding: 'utf8',
  });
  expect(JSON.parse(told)).toEqual({ reason: 'DISK_FULL', incoming: [], kept: true });
});
