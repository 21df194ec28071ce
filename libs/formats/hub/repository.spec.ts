import { createHash, randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readFile, readdir, readlink, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openModel, openRepository, repositoryLocation, type HubOptions } from './index.ts';
import { startTestHub, type TestHub } from './testing.ts';

const weights = randomBytes(300_000);
const config = Buffer.from('{"a": 1}');
const files = {
  'README.md': Buffer.from('x'),
  'config.json': config,
  'tokenizer.json': Buffer.from('{}'),
  'model.safetensors': weights,
  'pytorch_model.bin': Buffer.from('a pickle'),
  'onnx/model.safetensors': Buffer.from('of another kind'),
};
const token = 'secret';
/** Compared instead of the content, since a failing test would print every byte. */
const sha256 = (...parts: Uint8Array[]) => createHash('sha256').update(Buffer.concat(parts)).digest('hex');
const weightsDigest = sha256(weights);
const main = repositoryLocation('org/name', 'main', 'repo_id');

let home: string;
let server: TestHub;
let hub: HubOptions;
const cache = (...path: string[]) => join(home, 'hub', 'models--org--name', ...path);
const blobs = () => readdir(cache('blobs')).catch(() => []);
const fetched = () => server.requests.filter(({ method, path }) => method === 'GET' && !path.startsWith('/api/'));
/** Writes the file that an interrupted download of the weights leaves behind. */
const leftOver = async (content: Uint8Array) => {
  await mkdir(cache('blobs'), { recursive: true });
  await writeFile(cache('blobs', `${server.etagOf('model.safetensors')}.pairwise.incomplete`), content);
};

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'pairwise-hub-'));
  server = await startTestHub('org/name', files);
  hub = { endpoint: server.endpoint, token, home, offline: false };
});
afterEach(async () => {
  await server.close();
  await rm(home, { recursive: true });
});

test('a model is downloaded once, into the cache that other tools share', async () => {
  const model = await openRepository(hub, main);
  const digest = `sha256:${server.etagOf('model.safetensors')}`;
  expect(model).toMatchObject({ repoId: 'org/name', commit: server.commit });
  expect(model.files).toEqual([
    { path: 'config.json', sizeBytes: 8 },
    { path: 'tokenizer.json', sizeBytes: 2 },
    { path: 'model.safetensors', sizeBytes: 300_000, digest },
  ]);
  const progress: number[] = [];
  const local = await model.download({ onProgress: ({ receivedBytes }) => progress.push(receivedBytes) });
  expect(local).toMatchObject({ path: cache('snapshots', server.commit), files: model.files });
  expect(progress).toEqual(progress.toSorted((a, b) => a - b));
  expect([progress[0], progress.at(-1)]).toEqual([0, 300_010]);
  expect(sha256(...(await Array.fromAsync(local.stream('model.safetensors'))))).toBe(weightsDigest);

  expect(await readFile(cache('refs', 'main'), 'utf8')).toBe(server.commit);
  const etag = server.etagOf('config.json');
  expect(await readlink(cache('snapshots', server.commit, 'config.json'))).toBe(join('..', '..', 'blobs', etag));
  expect((await blobs()).sort()).toEqual([etag, server.etagOf('tokenizer.json'), digest.slice(7)].sort());

  server.requests.length = 0;
  await (await openRepository(hub, main)).download();
  expect(fetched()).toEqual([]);
});

test('the token goes only to the hub, not to the server that it redirects to', async () => {
  await (await openRepository(hub, main)).download();
  expect(new Set(server.requests.filter((each) => each.server === 'hub').map((each) => each.authorization))).toEqual(
    new Set([`Bearer ${token}`]),
  );
  const away = server.requests.filter((each) => each.server === 'cdn');
  expect(away.map((each) => each.authorization)).toEqual([undefined]);
});

test('ranges are read without downloading the model', async () => {
  const model = await openModel(main, hub, []);
  expect(await model.read('model.safetensors', 1000, 1010)).toEqual(new Uint8Array(weights.subarray(1000, 1010)));
  expect(await model.read('config.json', 0, 8)).toEqual(new Uint8Array(config));
  expect(await model.read('config.json', 8, 8)).toEqual(new Uint8Array(0));
  server.faults.push({ path: 'model.safetensors', ignoreRange: true });
  expect(await model.read('model.safetensors', 290_000, 290_003)).toEqual(
    new Uint8Array(weights.subarray(290_000, 290_003)),
  );
  expect(await blobs()).toEqual([]);
});

test('a download resumes where its connection broke', async () => {
  server.faults.push(
    { path: 'model.safetensors', breakAfter: 100_000 },
    { path: 'model.safetensors', breakAfter: 50_000 },
  );
  const local = await (await openRepository(hub, main)).download();
  expect(sha256(...(await Array.fromAsync(local.stream('model.safetensors'))))).toBe(weightsDigest);
  const parts = server.requests.filter((each) => each.server === 'cdn').map((each) => each.range);
  expect(parts).toEqual([undefined, 'bytes=100000-', 'bytes=150000-']);
});

test('the partial file of a process that died is used', async () => {
  await leftOver(weights.subarray(0, 200_000));
  await (await openRepository(hub, main)).download();
  expect(server.requests.filter((each) => each.server === 'cdn').map((each) => each.range)).toEqual(['bytes=200000-']);
  expect(sha256(await readFile(cache('blobs', server.etagOf('model.safetensors'))))).toBe(weightsDigest);
});

test('a partial file is completed even by a server that ignores ranges', async () => {
  await leftOver(weights.subarray(0, 200_000));
  server.faults.push({ path: 'model.safetensors', ignoreRange: true });
  await (await openRepository(hub, main)).download();
  expect(sha256(await readFile(cache('blobs', server.etagOf('model.safetensors'))))).toBe(weightsDigest);
});

test.each([
  ['damaged', randomBytes(200_000)],
  ['damaged and whole', randomBytes(300_000)],
  ['too long', randomBytes(400_000)],
])('a partial file is downloaded again if it is %s', async (_, content) => {
  await leftOver(content);
  await (await openRepository(hub, main)).download();
  expect(sha256(await readFile(cache('blobs', server.etagOf('model.safetensors'))))).toBe(weightsDigest);
});

test.each([
  ['other content', { path: 'model.safetensors', content: randomBytes(300_000) }],
  ['more bytes than stated', { path: 'model.safetensors', content: Buffer.concat([weights, weights]) }],
  ['another small file', { path: 'config.json', content: Buffer.from('{"a": 2}') }],
])('the download fails if a server sends %s', async (_, fault) => {
  server.faults.push(fault);
  const model = await openRepository(hub, main);
  await expect(model.download()).rejects.toMatchObject({ reason: 'DIGEST_MISMATCH' });
  expect(await blobs()).not.toContain(server.etagOf(fault.path));
  expect((await blobs()).filter((name) => name.endsWith('incomplete'))).toEqual([]);
  // No snapshot exists that could be mistaken for a model.
  await expect(readdir(cache('snapshots'))).rejects.toThrow('ENOENT');
  await model.download();
});

test('requests to a busy server are retried, and those to a stopped one fail in the end', async () => {
  server.faults.push({ path: 'revision/main', answer: 503 }, { path: 'config.json', answer: 429 });
  const model = await openRepository(hub, main);
  await model.download();
  await server.close();
  await expect(openRepository(hub, main)).rejects.toMatchObject({ reason: 'DOWNLOAD_FAILED' });
  server = await startTestHub('org/name', files);
}, 20_000);

test.each([
  [401, {}, 'PERMISSION_DENIED', 'HF_TOKEN'],
  [401, { 'x-error-code': 'RepoNotFound' }, 'NOT_FOUND', 'the hub has no org/name@main'],
  [403, { 'x-error-code': 'GatedRepo' }, 'PERMISSION_DENIED', 'accept its conditions'],
  [418, {}, 'DOWNLOAD_FAILED', 'status 418'],
  [302, { location: 'ftp://elsewhere/x' }, 'DOWNLOAD_FAILED', 'not safe to follow'],
])('the answer %i %j means %s', async (answer, headers, reason, problem) => {
  server.faults.push({ path: 'revision/main', answer, headers });
  const message = expect.stringContaining(problem) as string;
  await expect(openRepository(hub, main)).rejects.toMatchObject({ reason, message });
});

test('errors distinguish unknown repositories and revisions, and mention HF_TOKEN for private ones', async () => {
  const open = (repoId: string, revision: string, options = hub) =>
    openRepository(options, repositoryLocation(repoId, revision, 'repo_id'));
  await expect(open('org/other', 'main')).rejects.toThrow('the hub has no org/other@main');
  await expect(open('org/name', 'v2')).rejects.toThrow('the hub has no org/name@v2 at this revision');
  await expect(open('org/other', 'main', { ...hub, token: undefined })).rejects.toThrow('set HF_TOKEN');
  expect((await open('org/name', server.commit)).commit).toBe(server.commit);
});

test('an endpoint that is not a hub is reported as such', async () => {
  server.faults.push({ path: 'revision/main', answer: 200 });
  await expect(openRepository(hub, main)).rejects.toThrow('does not respond like a hub; check HF_ENDPOINT');
});

test('offline, the cache is used, and an incomplete one is reported', async () => {
  const offline = { ...hub, offline: true };
  await expect(openRepository(offline, main)).rejects.toMatchObject({ reason: 'OFFLINE' });
  const online = await (await openRepository(hub, main)).download();
  server.requests.length = 0;
  for (const revision of ['main', server.commit]) {
    const model = await openRepository(offline, { ...main, revision });
    expect(model).toMatchObject({ repoId: 'org/name', commit: server.commit });
    expect(await model.download()).toMatchObject({ path: online.path, files: online.files });
  }
  expect(server.requests).toEqual([]);
  await rm(cache('blobs', server.etagOf('model.safetensors')));
  await expect(openRepository(offline, main)).rejects.toThrow('contains only a part of org/name@main');
});

test('a cancelled download resumes the next time', async () => {
  const stop = new AbortController();
  const model = await openRepository(hub, main);
  server.faults.push({ path: 'model.safetensors', breakAfter: 100_000 });
  const onProgress = ({ receivedBytes }: { receivedBytes: number }) => {
    if (receivedBytes >= 100_000) stop.abort(new Error('stopped'));
  };
  await expect(model.download({ onProgress, signal: stop.signal })).rejects.toThrow('stopped');
  server.requests.length = 0;
  await model.download();
  expect(fetched().every(({ range }) => range !== undefined)).toBe(true);
});

test('two concurrent downloads of a model transfer it once', async () => {
  const model = await openRepository(hub, main);
  await Promise.all([model.download(), model.download()]);
  expect(server.requests.filter((each) => each.server === 'cdn')).toHaveLength(1);
});

test('a repository of pickles is refused, and so is one that does not fit on the disk', async () => {
  const pickles = await startTestHub('org/name', { 'config.json': config, 'pytorch_model.bin': weights });
  await expect(openRepository({ ...hub, endpoint: pickles.endpoint }, main)).rejects.toMatchObject({
    reason: 'UNSUPPORTED_FORMAT',
  });
  await pickles.close();
  const headers = { 'x-linked-etag': server.etagOf('model.safetensors'), 'x-linked-size': '9000000000000000' };
  server.faults.push({ path: 'model.safetensors', answer: 302, headers: { ...headers, location: '/x' } });
  server.faults.push({ path: '/x', answer: 200 });
  const model = await openRepository(hub, main);
  await expect(model.download()).rejects.toMatchObject({ reason: 'DISK_FULL' });
});
