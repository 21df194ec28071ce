import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { type Digest, digestOf } from '@pairwise/fingerprint';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { type BlobStore, openBlobStore } from './index.ts';
import { startS3, type S3Server } from './testing.ts';

// Tests that apply to buckets only: the server's checks, its outages, and the cache.

let server: S3Server;
let folder: string;
let store: BlobStore;
const large = Buffer.alloc(20_000_000, 'The quick brown fox jumps over the lazy dog. ');

const open = (bucket = 'blobs', capBytes = 2 ** 30, endpoint = server.environment.AWS_ENDPOINT_URL_S3) =>
  openBlobStore({
    PAIRWISE_DATA: folder,
    PAIRWISE_BLOB_URL: `s3://${bucket}/cached`,
    PAIRWISE_CACHE_BYTES: capBytes,
    AWS_ENDPOINT_URL: endpoint,
  });

const credentials = (id: string) => {
  vi.stubEnv('AWS_ACCESS_KEY_ID', id);
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', id === '' ? '' : server.environment.AWS_SECRET_ACCESS_KEY);
};

beforeAll(async () => {
  server = await startS3();
});
afterAll(() => server.stop());
beforeEach(async () => {
  for (const [name, value] of Object.entries(server.environment)) vi.stubEnv(name, value);
  folder = mkdtempSync(join(tmpdir(), 'pairwise-s3-'));
  store = await open();
  server.requests.length = 0;
});
afterEach(async () => {
  Object.assign(server.faults, { away: false, truncations: 0, damage: () => false });
  await store.close();
  rmSync(folder, { recursive: true, force: true });
  vi.unstubAllEnvs();
});

/** The digests of the copies in the cache. */
const copies = () =>
  readdirSync(join(folder, 'cache/sha256'), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => `sha256:${parentPath.slice(-2)}${name}`)
    .sort();
const copyOf = (digest: Digest) => join(folder, 'cache/sha256', digest.slice(7, 9), digest.slice(9));
const downloads = (digest: Digest) =>
  server.requests.filter((request) => request.startsWith('GET') && request.includes(digest.slice(9))).length;
/** Stores a blob of the given size. */
const some = async (letter: string, size = 1000) => (await store.put(Buffer.alloc(size, letter))).digest;

test('the server refuses bytes that are damaged in transit, and stores nothing', async () => {
  server.faults.damage = (url) => url.includes('/sha256/');
  await expect(store.put(Buffer.from('small'))).rejects.toMatchObject({
    reason: 'UNAVAILABLE',
    message: expect.stringContaining('received different bytes than were sent') as string,
  });
  expect(await store.has(digestOf(Buffer.from('small')))).toBe(false);
  // The second of three parts is damaged, so the whole upload is aborted.
  server.faults.damage = (url) => url.includes('partNumber=2');
  await expect(store.put(large)).rejects.toMatchObject({ reason: 'UNAVAILABLE' });
  expect(await store.has(digestOf(large))).toBe(false);
  const aborted = server.requests.filter((request) => request.startsWith('DELETE') && request.includes('uploadId'));
  expect(aborted).toHaveLength(1);
  server.faults.damage = () => false;
  await store.put(large);
  expect((await store.get(digestOf(large))).equals(large)).toBe(true);
});

test('the test server refuses a request whose sha256 does not match its bytes', async () => {
  const client = new S3Client({ endpoint: server.environment.AWS_ENDPOINT_URL_S3, region: 'x', forcePathStyle: true });
  const wrong = new PutObjectCommand({
    Bucket: 'blobs',
    Key: 'wrong',
    Body: Buffer.from('one'),
    ChecksumSHA256: Buffer.from(digestOf(Buffer.from('two')).slice(7), 'hex').toString('base64'),
  });
  await expect(client.send(wrong)).rejects.toThrow('BadDigest');
  client.destroy();
});

test('a server is used again after an outage', async () => {
  const digest = await some('a');
  server.faults.away = true;
  const put = () => store.put(Buffer.from('b'));
  for (const call of [() => store.get(digest), put, () => store.local(digest), () => store.delete(digest)]) {
    await expect(call()).rejects.toMatchObject({ reason: 'UNAVAILABLE' });
  }
  server.faults.away = false;
  expect(await store.get(digest)).toHaveLength(1000);
  const nowhere = await open('blobs', 1, 'http://127.0.0.1:9');
  await expect(nowhere.has(digest)).rejects.toMatchObject({
    reason: 'UNAVAILABLE',
    message: expect.stringMatching(/s3:\/\/blobs\/cached cannot be reached \(ECONNREFUSED/) as string,
  });
  await nowhere.close();
});

test('an interrupted download resumes where it stopped, and fails if that keeps happening', async () => {
  const digest = await some('a', 3_000_000);
  server.faults.truncations = 3;
  expect(digestOf(await store.get(digest))).toBe(digest);
  server.faults.truncations = Infinity;
  await expect(store.local(digest)).rejects.toMatchObject({ reason: 'UNAVAILABLE' });
  expect(copies()).toEqual([]);
  server.faults.truncations = 1;
  await using blob = await store.local(digest);
  expect(digestOf(readFileSync(blob.path))).toBe(digest);
});

test.each([
  ['another access key', 'blobs', 'somebody-else', /denies access|refuses the credentials/],
  ['no credentials', 'blobs', '', /needs credentials; set AWS_ACCESS_KEY_ID/],
  ['no such bucket', 'elsewhere', 'pairwise-tests', /s3:\/\/elsewhere\/cached does not exist; create the bucket/],
])('%s: reported with the remedy, and may be retried', async (_, bucket, id, message) => {
  vi.stubEnv('AWS_EC2_METADATA_DISABLED', 'true');
  vi.stubEnv('AWS_CONFIG_FILE', join(folder, 'none'));
  vi.stubEnv('AWS_SHARED_CREDENTIALS_FILE', join(folder, 'none'));
  credentials(id);
  const other = await open(bucket);
  const digest = digestOf(Buffer.from('x'));
  const calls = [() => other.put(Buffer.from('x')), () => other.get(digest), () => other.local(digest)];
  for (const call of calls) {
    const failure = await call().catch((error: unknown) => error);
    expect(failure).toMatchObject({ reason: 'UNAVAILABLE', message: expect.stringMatching(message) as string });
    expect(String(failure)).not.toContain(server.environment.AWS_SECRET_ACCESS_KEY);
  }
  await other.close();
});

test('without an endpoint, a region is required', async () => {
  for (const name of ['AWS_REGION', 'AWS_DEFAULT_REGION', 'AWS_PROFILE']) vi.stubEnv(name, '');
  vi.stubEnv('AWS_CONFIG_FILE', join(folder, 'none'));
  const opened = openBlobStore({ PAIRWISE_DATA: folder, PAIRWISE_BLOB_URL: 's3://blobs', PAIRWISE_CACHE_BYTES: 1 });
  await expect(opened).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT', field: 'AWS_REGION' });
});

test('the least recently used copy is evicted, but not while it is open', async () => {
  const small = await open('blobs', 2500);
  const [a, b, c, d] = [await some('a'), await some('b'), await some('c'), await some('d')];
  const use = async (digest: Digest) => (await small.local(digest))[Symbol.asyncDispose]();
  await use(a);
  await use(b);
  for (const [digest, age] of [
    [a, 20],
    [b, 40],
  ] as const) {
    utimesSync(copyOf(digest), Date.now() / 1000 - age, Date.now() / 1000 - age);
  }
  await use(c);
  expect(copies()).toEqual([a, c].sort());
  const held = await small.local(a);
  utimesSync(copyOf(a), 0, 0);
  await use(d);
  expect(copies()).toEqual([a, d].sort());
  expect(readFileSync(held.path, 'utf8')).toBe('a'.repeat(1000));
  await held[Symbol.asyncDispose]();
  expect(downloads(a)).toBe(1);
  await small.close();
});

test('a blob larger than the cache is refused, and the error names the variable to raise', async () => {
  const small = await open('blobs', 2500);
  const [huge, a, b, c] = [await some('h', 2501), await some('a'), await some('b'), await some('c')];
  const message = expect.stringContaining('PAIRWISE_CACHE_BYTES') as string;
  await expect(small.local(huge)).rejects.toMatchObject({ reason: 'DISK_FULL', message });
  const held = [await small.local(a), await small.local(b)];
  await expect(small.local(c)).rejects.toMatchObject({ reason: 'DISK_FULL', message });
  // Another process has nothing open itself, so it may wait for this one.
  const other = await open('blobs', 2500);
  await expect(other.local(c)).rejects.toMatchObject({ reason: 'UNAVAILABLE', message });
  await held[0]![Symbol.asyncDispose]();
  await using blob = await other.local(c);
  expect(readFileSync(blob.path, 'utf8')).toBe('c'.repeat(1000));
  await Promise.all([small.close(), other.close()]);
});

test('a damaged copy is detected and fetched again', async () => {
  const digest = await some('a');
  await (await store.local(digest))[Symbol.asyncDispose]();
  chmodSync(copyOf(digest), 0o644);
  writeFileSync(copyOf(digest), Buffer.alloc(1000, 'b'));
  await using blob = await store.local(digest);
  expect(readFileSync(blob.path, 'utf8')).toBe('a'.repeat(1000));
  expect(downloads(digest)).toBe(2);
});

/** Starts another process that has a blob open and reports its path. */
function opener(digest: Digest, capBytes = 2 ** 30) {
  const script = join(import.meta.dirname, 'testing.local.ts');
  const child = spawn(process.execPath, [script, folder, digest, String(capBytes)], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, ...server.environment },
  });
  return { child, path: once(createInterface(child.stdout), 'line').then(([line]) => String(line)) };
}

test('two processes share a copy that is fetched once and not evicted while either has it open', async () => {
  const digest = await some('s', 30_000_000);
  const openers = [opener(digest, 31_000_000), opener(digest, 31_000_000)];
  const paths = await Promise.all(openers.map(({ path }) => path));
  for (const path of paths) expect(digestOf(readFileSync(path))).toBe(digest);
  expect(new Set(paths).size).toBe(2);
  expect(downloads(digest)).toBe(1);
  const other = await open('blobs', 31_000_000);
  const more = await some('m', 2_000_000);
  await expect(other.local(more)).rejects.toMatchObject({ reason: 'UNAVAILABLE' });
  for (const { child } of openers) {
    child.stdin.end();
    await once(child, 'exit');
  }
  await (await other.local(more))[Symbol.asyncDispose]();
  expect(copies()).toEqual([more]);
  await other.close();
});

test('what a killed process had open or was fetching is ignored after a while', async () => {
  const [digest, other] = [await some('k'), await some('l')];
  const { child, path } = opener(digest, 1500);
  const own = await path;
  child.kill('SIGKILL');
  await once(child, 'exit');
  const small = await open('blobs', 1500);
  await expect(small.local(other)).rejects.toMatchObject({ reason: 'UNAVAILABLE' });
  const process = join(own, '../..');
  const longAgo = Date.now() / 1000 - 120;
  utimesSync(process, longAgo, longAgo);
  await using blob = await small.local(other);
  expect(readFileSync(blob.path, 'utf8')).toBe('l'.repeat(1000));
  expect(existsSync(process)).toBe(false);
  expect(copies()).toEqual([other]);
  await small.close();
});
