import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Digest, digestOf } from '@pairwise/fingerprint';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { type BlobStore, openBlobStore } from './index.ts';
import { startS3, type S3Server } from './testing.ts';

// Tests that apply to every kind of store.

const bytes = Buffer.alloc(700_001, 'abcdefg');
const digest = digestOf(bytes);
/** Large enough to be uploaded in three parts. */
const large = Buffer.alloc(20_000_000, 'The quick brown fox jumps over the lazy dog. ');

async function* chunks(...parts: Uint8Array[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) yield await Promise.resolve(part);
}

async function collect(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(stream));
}

describe.each(['folder', 'bucket'])('a blob store in a %s', (kind) => {
  let server: S3Server;
  let [folder, prefix] = ['', ''];
  let store: BlobStore;

  beforeAll(async () => {
    server = await startS3();
    for (const [name, value] of Object.entries(server.environment)) vi.stubEnv(name, value);
  });
  afterAll(async () => {
    vi.unstubAllEnvs();
    await server.stop();
  });
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'pairwise-store-'));
    prefix = `tests/${folder.slice(-6)}`;
    store = await openBlobStore({
      PAIRWISE_DATA: folder,
      PAIRWISE_BLOB_URL: kind === 'folder' ? pathToFileURL(join(folder, 'blobs')).href : `s3://blobs/${prefix}`,
      PAIRWISE_CACHE_BYTES: 2 ** 30,
      AWS_ENDPOINT_URL: server.environment.AWS_ENDPOINT_URL_S3,
    });
  });
  afterEach(async () => {
    await store.close();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Lists files of unfinished writes. */
  function leftovers(): string[] {
    const places =
      kind === 'folder' ? ['blobs/incoming'] : readdirSync(join(folder, 'cache/processes')).flatMap(inCache);
    return places.flatMap((place) => readdirSync(join(folder, place)));
  }
  const inCache = (id: string) => ['open', 'incoming', 'outgoing'].map((part) => `cache/processes/${id}/${part}`);

  /** Flips a bit of a blob in the store. */
  async function damage(of: Digest): Promise<void> {
    const path = `sha256/${of.slice(7, 9)}/${of.slice(9)}`;
    if (kind === 'folder') {
      const file = join(folder, 'blobs', path);
      chmodSync(file, 0o644);
      const copy = readFileSync(file);
      copy[1000]! ^= 1;
      writeFileSync(file, copy);
      return;
    }
    const copy = await store.get(of);
    copy[1000]! ^= 1;
    expect((await server.send('PUT', `blobs/${prefix}/${path}`, copy)).ok).toBe(true);
  }

  test('bytes and streams can be read back under the digest of their content', async () => {
    expect(await store.put(chunks(bytes.subarray(0, 10), bytes.subarray(10)))).toEqual({ digest, sizeBytes: 700_001 });
    expect(await store.put(bytes)).toEqual({ digest, sizeBytes: 700_001 });
    expect((await store.get(digest)).equals(bytes)).toBe(true);
    expect(await store.stat(digest)).toEqual({ sizeBytes: 700_001 });
    expect((await collect(store.read(digest))).equals(bytes)).toBe(true);
    expect((await collect(store.read(digest, { start: 3, end: 300_000 }))).equals(bytes.subarray(3, 300_000))).toBe(
      true,
    );
    expect((await collect(store.read(digest, { start: 700_000, end: 900_000 }))).length).toBe(1);
    expect(await collect(store.read(digest, { start: 800_000 }))).toHaveLength(0);
    for await (const chunk of store.read(digest)) expect(chunk.length).toBeLessThanOrEqual(256 * 1024);
    const empty = await store.put(new Uint8Array());
    expect(await collect(store.read(empty.digest))).toHaveLength(0);
    expect(leftovers()).toEqual([]);
  });

  test('large content can be read back too, from bytes and from a stream', async () => {
    for (const content of [large, chunks(large.subarray(0, 9_000_000), large.subarray(9_000_000))]) {
      await store.delete(digestOf(large));
      expect(await store.put(content)).toEqual({ digest: digestOf(large), sizeBytes: large.length });
      expect((await store.get(digestOf(large))).equals(large)).toBe(true);
    }
    expect(leftovers()).toEqual([]);
  });

  test('a file becomes a blob, and is removed', async () => {
    const path = join(folder, 'file');
    for (const content of [large, bytes, bytes]) {
      writeFileSync(path, content);
      expect(await store.putFile(path)).toEqual({ digest: digestOf(content), sizeBytes: content.length });
      expect((await store.get(digestOf(content))).equals(content)).toBe(true);
      expect(existsSync(path)).toBe(false);
    }
    await expect(store.putFile(path)).rejects.toThrow('ENOENT');
    expect(leftovers()).toEqual([]);
  });

  test('an existing blob is not written again, and its content is not even read', async () => {
    await store.put(bytes);
    const before = server.requests.filter((request) => request.startsWith('PUT')).length;
    const untouched = chunks(bytes);
    await store.put(untouched, { expectedDigest: digest });
    expect((await untouched.next()).done).toBe(false);
    await Promise.all([1, 2, 3].map(() => store.put(bytes)));
    await store.put(chunks(bytes));
    expect(server.requests.filter((request) => request.startsWith('PUT'))).toHaveLength(before);
  });

  test('a wrong digest, too many bytes and a broken source leave nothing behind', async () => {
    const other = digestOf(Buffer.from('other'));
    for (const content of [chunks(bytes), bytes]) {
      await expect(store.put(content, { expectedDigest: other })).rejects.toMatchObject({ reason: 'DIGEST_MISMATCH' });
    }
    for (const content of [chunks(bytes), bytes]) {
      await expect(store.put(content, { maxBytes: 700_000 })).rejects.toMatchObject({ reason: 'INVALID_FILE' });
    }
    const broken = (async function* () {
      yield await Promise.resolve(bytes);
      throw new Error('gone');
    })();
    await expect(store.put(broken)).rejects.toThrow('gone');
    expect(leftovers()).toEqual([]);
    expect(await store.has(digest)).toBe(false);
    expect(await store.has(other)).toBe(false);
  });

  test('errors distinguish a missing blob from a name that is not a digest', async () => {
    await expect(store.get(digest)).rejects.toMatchObject({ reason: 'NOT_FOUND' });
    await expect(collect(store.read(digest))).rejects.toMatchObject({ reason: 'NOT_FOUND' });
    await expect(store.local(digest)).rejects.toMatchObject({ reason: 'NOT_FOUND' });
    await expect(store.get('sha256:../../x')).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
    await store.delete(digest);
  });

  test('a flipped bit is detected, and the blob can be restored', async () => {
    for (const read of [() => store.get(digest), () => collect(store.read(digest))]) {
      await store.put(bytes);
      await damage(digest);
      await expect(read()).rejects.toMatchObject({ reason: 'DAMAGED_DATA' });
      expect(await store.has(digest)).toBe(false);
    }
    await store.put(bytes);
    expect((await store.get(digest)).equals(bytes)).toBe(true);
  });

  test('a blob is available as a file that nobody can write to and no other user can read', async () => {
    await store.put(bytes);
    await using blob = await store.local(digest);
    expect(readFileSync(blob.path).equals(bytes)).toBe(true);
    expect(statSync(blob.path).mode & 0o777).toBe(0o400);
    await store.delete(digest);
    await expect(store.local(digest)).rejects.toMatchObject({ reason: 'NOT_FOUND' });
  });
});
