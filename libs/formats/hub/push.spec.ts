import { createHash, randomBytes } from 'node:crypto';
import { PairwiseError } from '@pairwise/errors';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { pushFiles, type HubAccess, type PushFile, type PushTarget } from './index.ts';
import { startTestPushHub, type PushFault, type TestPushHub } from './testing.ts';

const token = 'hf_secret';
const [first, second] = [randomBytes(300_000), randomBytes(200_000)];
const config = Buffer.from('{"a": 1}');
const target: PushTarget = { repoId: 'org/name', branch: 'main', isPrivate: true, message: 'Add the model' };

let server: TestPushHub;
let hub: HubAccess;
beforeEach(() => start());
afterEach(() => server.close());

async function start(partBytes?: number) {
  server = await startTestPushHub({ token, owner: 'org', ...(partBytes !== undefined && { partBytes }) });
  hub = { endpoint: server.endpoint, token };
}

const sha256 = (content: Uint8Array) => createHash('sha256').update(content).digest('hex');

function fileOf(path: string, content: Buffer, digest = sha256(content)): PushFile {
  return {
    path,
    sizeBytes: content.length,
    digest: `sha256:${digest}`,
    async *read(start, end) {
      for (let at = start; at < end; at += 10_000) {
        yield await Promise.resolve(content.subarray(at, Math.min(at + 10_000, end)));
      }
    },
  };
}

const files = [
  fileOf('config.json', config),
  fileOf('model-00001-of-00002.safetensors', first),
  fileOf('model-00002-of-00002.safetensors', second),
];
const allBytes = config.length + first.length + second.length;

const commitsOf = (branch = 'main') => server.repositories.get('org/name')!.branches.get(branch)!;
/** The sha256 of each file at the head of a branch. */
const headOf = (branch?: string) =>
  Object.fromEntries([...commitsOf(branch).at(-1)!.files].map(([path, { content }]) => [path, sha256(content)]));
const digests = Object.fromEntries(files.map(({ path, digest }) => [path, digest.slice('sha256:'.length)]));
const paths = () => server.requests.map(({ method, path }) => `${method} ${path}`);

test('a new repository gets the files in one commit: texts within it, weights by LFS', async () => {
  const progress: number[] = [];
  const onProgress = ({ pushedBytes }: { pushedBytes: number }) => progress.push(pushedBytes);
  const pushed = await pushFiles(hub, target, files, { onProgress });
  expect(pushed.url).toBe(`${server.endpoint}/org/name/commit/${pushed.commit}`);
  expect(commitsOf().map(({ message }) => message)).toEqual(['initial commit', 'Add the model']);
  expect(commitsOf().at(-1)!.commit).toBe(pushed.commit);
  expect(headOf()).toMatchObject(digests);
  const [{ isPrivate }] = server.repositories.values() as unknown as [{ isPrivate: boolean }];
  expect(isPrivate).toBe(true);
  expect(server.storedBytes()).toBe(first.length + second.length);
  const inLfs = [...commitsOf().at(-1)!.files].filter(([, { lfs }]) => lfs !== undefined).map(([path]) => path);
  expect(inLfs).toEqual(files.slice(1).map(({ path }) => path));
  expect(progress).toEqual(progress.toSorted((a, b) => a - b));
  expect([progress[0], progress.at(-1)]).toEqual([0, allBytes]);
});

test('the token goes to the hub alone, and never to its storage', async () => {
  await pushFiles(hub, target, files);
  const seen = (where: string) =>
    new Set(server.requests.filter((each) => each.server === where).map((each) => each.authorization));
  expect(seen('hub')).toEqual(new Set([`Bearer ${token}`]));
  expect(seen('storage')).toEqual(new Set([undefined]));
});

test('the same push again makes no commit and uploads nothing', async () => {
  const { commit } = await pushFiles(hub, target, files);
  server.requests.length = 0;
  expect((await pushFiles(hub, target, files)).commit).toBe(commit);
  expect(commitsOf()).toHaveLength(2);
  expect(server.storedBytes()).toBe(first.length + second.length);
  expect(paths().filter((each) => /batch|commit/.test(each))).toEqual([]);
});

test('a changed file is the only one in the next commit', async () => {
  await pushFiles(hub, target, files);
  await pushFiles(hub, target, [fileOf('config.json', Buffer.from('{"a": 2}')), ...files.slice(1)]);
  expect(commitsOf()).toHaveLength(3);
  expect(headOf()['config.json']).toBe(sha256(Buffer.from('{"a": 2}')));
  expect(server.storedBytes()).toBe(first.length + second.length);
});

test('a branch is created from main, and other files on it remain', async () => {
  await pushFiles(hub, target, [fileOf('notes.txt', Buffer.from('x'))]);
  await pushFiles(hub, { ...target, branch: 'v2/half' }, files);
  const expected = ['.gitattributes', 'notes.txt', ...Object.keys(digests)];
  expect(new Set(Object.keys(headOf('v2/half')))).toEqual(new Set(expected));
  expect(commitsOf()).toHaveLength(2);
});

test('a single file of weights is deleted when sharded ones replace it, since programs would read it', async () => {
  await pushFiles(hub, target, [fileOf('model.safetensors', first)]);
  const index = fileOf('model.safetensors.index.json', Buffer.from('{}'));
  await pushFiles(hub, target, [...files, index]);
  expect(headOf()).not.toHaveProperty('model.safetensors');
  await pushFiles(hub, target, [fileOf('adapter_model.safetensors', second)]);
  expect(headOf()).toHaveProperty('model.safetensors.index.json');
});

test('large files are uploaded in parts, in order', async () => {
  await server.close();
  await start(100_001);
  await pushFiles(hub, target, files);
  expect(headOf()).toMatchObject(digests);
  const parts = server.requests.filter((each) => each.server === 'storage').map(({ path }) => path.split('?')[0]);
  expect(parts).toEqual([
    ...[1, 2, 3].map((part) => `/${sha256(first)}/${part}`),
    ...[1, 2].map((part) => `/${sha256(second)}/${part}`),
  ]);
});

test('a part whose connection breaks is sent again, and only that part', async () => {
  await server.close();
  await start(100_000);
  server.faults.push({ path: '/2', afterBytes: 30_000 });
  await pushFiles(hub, target, files);
  expect(headOf()).toMatchObject(digests);
  const parts = server.requests.filter((each) => each.server === 'storage').map(({ path }) => path.split(/[/?]/)[2]);
  expect(parts).toEqual(['1', '2', '2', '3', '1', '2']);
});

test('a push that failed midway is resumed: what the hub has is not uploaded again', async () => {
  server.faults.push({ path: sha256(second), answer: 403 });
  await expect(pushFiles(hub, target, files)).rejects.toMatchObject({ reason: 'UPLOAD_FAILED' });
  expect(commitsOf()).toHaveLength(1);
  server.requests.length = 0;
  await pushFiles(hub, target, files);
  expect(headOf()).toMatchObject(digests);
  const stored = server.requests.filter((each) => each.server === 'storage').map(({ path }) => path.split('?')[0]);
  expect(stored).toEqual([`/${sha256(second)}`]);
});

test('a busy hub is asked again, after the pause that it asks for', async () => {
  server.faults.push(
    { path: '/api/repos/create', answer: 429, headers: { 'retry-after': '1' } },
    { path: 'objects/batch', answer: 503 },
    { path: '/preupload/main' },
    { path: '/verify', answer: 500 },
    { path: '/commit/main', answer: 503 },
  );
  await pushFiles(hub, target, files);
  expect(headOf()).toMatchObject(digests);
  expect(server.faults).toEqual([]);
}, 20_000);

test.each<[string, number, Omit<PushFault, 'path'>]>([
  ['whose response was lost is not made twice', 1, { loseResponse: true }],
  ['that lost a race is made again', 2, { answer: 412 }],
])('a commit %s', async (_, tries, fault) => {
  server.faults.push({ path: '/commit/main', ...fault });
  const { commit } = await pushFiles(hub, target, files);
  expect(commitsOf().map(({ message }) => message)).toEqual(['initial commit', 'Add the model']);
  expect(commitsOf().at(-1)!.commit).toBe(commit);
  expect(server.requests.filter(({ path }) => path.endsWith('/commit/main'))).toHaveLength(tries);
});

test.each([
  [401, {}, 'PERMISSION_DENIED', 'HF_TOKEN must be a token with write access'],
  [403, { 'x-error-message': 'You have no rights' }, 'PERMISSION_DENIED', 'the hub says "You have no rights"'],
  [404, {}, 'NOT_FOUND', 'the creation of org/name'],
  [413, { 'x-error-message': 'The limit is reached' }, 'UPLOAD_FAILED', 'status 413'],
  [307, { location: 'https://elsewhere/' }, 'UPLOAD_FAILED', "push to the repository's new name"],
  [200, {}, 'UPLOAD_FAILED', undefined],
])('the answer %i %j means %s', async (answer, headers, reason, problem) => {
  const path = answer === 200 ? '/preupload/main' : '/api/repos/create';
  server.faults.push({ path, answer, headers });
  const message = expect.stringContaining(problem ?? 'check HF_ENDPOINT') as string;
  await expect(pushFiles(hub, target, files)).rejects.toMatchObject({ reason, message });
});

test('a token without write access is refused with the remedy', async () => {
  const others = pushFiles(hub, { ...target, repoId: 'other/name' }, files);
  await expect(others).rejects.toMatchObject({ reason: 'PERMISSION_DENIED' });
  const wrong = pushFiles({ ...hub, token: 'hf_other' }, target, files);
  await expect(wrong).rejects.toMatchObject({ reason: 'PERMISSION_DENIED' });
});

test.each([
  [true, 'exists and is private, but the push says public'],
  [false, 'exists and is public, but the push says private'],
])('a repository is never more or less private than the push says', async (isPrivate, problem) => {
  await pushFiles(hub, { ...target, isPrivate }, [files[0]!]);
  const refused = pushFiles(hub, { ...target, isPrivate: !isPrivate }, files);
  const message = expect.stringContaining(problem) as string;
  await expect(refused).rejects.toMatchObject({ reason: 'WRONG_STATE', message });
  expect(commitsOf()).toHaveLength(2);
});

test('addresses and tokens are in no error', async () => {
  server.faults.push({ path: sha256(first), answer: 403 });
  const error: unknown = await pushFiles(hub, target, files).catch((thrown: unknown) => thrown);
  for (let each = error; each instanceof Error; each = each.cause) {
    expect(`${each.stack} ${JSON.stringify(each)}`).not.toMatch(/signature|hf_secret/);
  }
});

test('a file whose bytes do not have its digest is never committed', async () => {
  await server.close();
  await start(100_000);
  const damaged = fileOf('model.safetensors', first, sha256(second));
  await expect(pushFiles(hub, target, [damaged])).rejects.toMatchObject({ reason: 'DAMAGED_DATA' });
  expect(commitsOf()).toHaveLength(1);
});

test('what reading a file throws ends the push at once', async () => {
  const gone = new PairwiseError('NOT_FOUND', 'there is no blob');
  const missing: PushFile = {
    ...files[1]!,
    async *read(start) {
      if (start === 0) yield first.subarray(0, 512);
      throw await Promise.resolve(gone);
    },
  };
  await expect(pushFiles(hub, target, [missing])).rejects.toBe(gone);
});

test('a file is read as fast as it is sent, so that memory does not grow with it', async () => {
  const chunk = randomBytes(1 << 20);
  const whole = Buffer.concat(Array.from({ length: 64 }, () => chunk));
  let [read, furthestAhead] = [0, 0];
  const large: PushFile = {
    ...fileOf('model.safetensors', whole),
    async *read(start, end) {
      for (let at = start; at < end; at += chunk.length) {
        read = Math.min(at + chunk.length, end);
        furthestAhead = Math.max(furthestAhead, read - server.storedBytes());
        yield await Promise.resolve(whole.subarray(at, read));
      }
    },
  };
  await pushFiles(hub, target, [large]);
  expect(read).toBe(whole.length);
  expect(furthestAhead).toBeLessThan(16 << 20);
});

test('a cancelled push stops', async () => {
  const stop = new AbortController();
  const onProgress = ({ pushedBytes }: { pushedBytes: number }) => {
    if (pushedBytes > 100_000) stop.abort(new Error('stopped'));
  };
  await expect(pushFiles(hub, target, files, { onProgress, signal: stop.signal })).rejects.toThrow('stopped');
  expect(commitsOf()).toHaveLength(1);
});
