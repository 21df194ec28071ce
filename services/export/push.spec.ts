import { setTimeout as sleep } from 'node:timers/promises';
import {
  ExportState,
  PushArtifactRequest,
  PushState,
  StartExportRequest,
  type Artifact,
  type ExportServiceService,
  type Push,
} from '@pairwise/api';
import { digestOf } from '@pairwise/fingerprint';
import { startTestPushHub, type PushFault, type TestPushHub } from '@pairwise/hub/testing';
import { errorOf, hasEnded, type Client } from '@pairwise/rpc';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { startTestExportService, testProject, type TestExportService } from './testing.ts';

const token = 'hf_secret';
/** Where the service may push to. */
const access = { endpoint: '', token, namespaces: ['my-org', 'others'] };
let hub: TestPushHub;
let service: TestExportService;
let client: Client<typeof ExportServiceService>;
let artifact: Artifact;
let count = 0;
let repoId: string;

beforeAll(async () => {
  // The tiny model's weights are sent in several parts.
  hub = await startTestPushHub({ token, owner: 'my-org', partBytes: 20_000 });
  access.endpoint = hub.endpoint;
  service = await startTestExportService(access);
  ({ client } = service);
  artifact = await exportTiny('source', 'F32');
});
afterAll(async () => {
  await service.stop();
  await hub.close();
});
beforeEach(() => {
  hub.requests.length = 0;
  repoId = `my-org/model-${count++}`;
});

async function exportTiny(exportId: string, dtype: string): Promise<Artifact> {
  const source = { $case: 'model' as const, value: `${testProject}/models/tiny` };
  const targets = [{ name: 'whole', format: { $case: 'merged' as const, value: { dtype } } }];
  const request = StartExportRequest.create({ parent: testProject, exportId, source, targets });
  const { name } = (await client.startExport(request)).export!;
  for (;;) {
    const { export: now } = await client.getExport({ name });
    if (now!.state === ExportState.SUCCEEDED) return now!.artifacts[0]!;
    expect(now!.error).toBeUndefined();
    await sleep(50);
  }
}

const requestFor = (values: Partial<PushArtifactRequest> = {}) =>
  PushArtifactRequest.create({ name: artifact.name, repoId, ...values });

async function untilEnded({ name }: Push): Promise<Push> {
  for (;;) {
    const { push } = await client.getPush({ name });
    if (hasEnded(PushState, push!)) return push!;
    await sleep(20);
  }
}

async function pushed(values: Partial<PushArtifactRequest> = {}): Promise<Push> {
  return untilEnded((await client.pushArtifact(requestFor(values))).push!);
}

const commitsOf = (branch = 'main') => hub.repositories.get(repoId)!.branches.get(branch)!;
const sizeOf = ({ files }: Artifact) => files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0n);
const isCommit = ({ method, path }: { method: string; path: string }) => method === 'POST' && /\/commit\//.test(path);

test('an artifact is pushed to a new private repository, with every file as the export made it', async () => {
  const push = await pushed();
  const totalSizeBytes = sizeOf(artifact);
  expect(push).toMatchObject({ state: PushState.SUCCEEDED, error: undefined, repoId, revision: 'main', private: true });
  expect(push).toMatchObject({ pushedSizeBytes: totalSizeBytes, totalSizeBytes });
  const { pushes } = await client.listPushes({
    parent: artifact.name.split('/artifacts/')[0]!,
    pageSize: 0,
    pageToken: '',
  });
  expect(pushes).toEqual([push]);
  expect(push.url).toBe(`${hub.endpoint}/${repoId}/commit/${push.commit}`);
  const { commit, message, files } = commitsOf().at(-1)!;
  expect([commit, message]).toEqual([push.commit, 'Add whole of source']);
  expect(hub.repositories.get(repoId)!.isPrivate).toBe(true);
  const there = Object.fromEntries([...files].map(([path, { content }]) => [path, digestOf(content)]));
  expect(there).toMatchObject(Object.fromEntries(artifact.files.map(({ path, digest }) => [path, digest])));
  expect(Object.keys(there)).toEqual(expect.arrayContaining(['README.md', 'config.json', 'model.safetensors']));
});

test('a public repository, a branch and a message are as requested', async () => {
  await pushed({ private: false, revision: 'v2', commitMessage: 'Second try' });
  expect(hub.repositories.get(repoId)!.isPrivate).toBe(false);
  expect(commitsOf('v2').at(-1)!.message).toBe('Second try');
  expect(commitsOf()).toHaveLength(1);
});

test('the same push again makes no commit', async () => {
  const first = await pushed();
  const again = await pushed();
  expect(again.name).not.toBe(first.name);
  expect(again).toMatchObject({ state: PushState.SUCCEEDED, commit: first.commit });
  expect(hub.requests.filter(isCommit)).toHaveLength(1);
});

test('a repeated call is one push, by its request id or while it has not ended', async () => {
  hub.faults.push({ path: '/api/repos/create', answer: 503 });
  const [first, second] = await Promise.all([1, 2].map(() => client.pushArtifact(requestFor())));
  expect(second!.push!.name).toBe(first!.push!.name);
  await untilEnded(first!.push!);
  const requestId = `${repoId}-once`;
  const third = await pushed({ requestId });
  expect((await client.pushArtifact(requestFor({ requestId }))).push!.name).toBe(third.name);
  const reused = client.pushArtifact(requestFor({ requestId, revision: 'other' }));
  await expect(reused).rejects.toMatchObject({ reason: 'REQUEST_ID_REUSED' });
});

test('pushes of an export are deleted with it, and cancelled', async () => {
  const doomed = await exportTiny('deleted', 'BF16');
  hub.faults.push({ path: '/api/repos/create', answer: 503, headers: { 'retry-after': '60' } });
  const { push } = await client.pushArtifact(requestFor({ name: doomed.name }));
  expect(push!.totalSizeBytes).toBe(sizeOf(doomed));
  while (!hub.requests.some(({ path }) => path === '/api/repos/create')) await sleep(20);
  await client.deleteExport({ name: `${testProject}/exports/deleted`, requestId: '' });
  await expect(client.getPush({ name: push!.name })).rejects.toMatchObject({ reason: 'NOT_FOUND' });
  // The worker is free again, long before the pause that the hub asked for.
  expect((await pushed()).state).toBe(PushState.SUCCEEDED);
});

test('a cancelled push ends without a commit', async () => {
  hub.faults.push({ path: '/commit/main', answer: 503, headers: { 'retry-after': '60' } });
  const { push } = await client.pushArtifact(requestFor());
  while (!hub.requests.some(isCommit)) await sleep(20);
  const request = { name: push!.name, requestId: 'stop' };
  expect((await client.cancelPush(request)).push!.state).toBe(PushState.CANCELLING);
  await client.cancelPush(request);
  expect(await untilEnded(push!)).toMatchObject({ state: PushState.CANCELLED, error: undefined, commit: '' });
  expect(commitsOf()).toHaveLength(1);
});

test.each<[string, PushFault]>([
  ['PERMISSION_DENIED', { path: '/api/repos/create', answer: 403 }],
  ['UPLOAD_FAILED', { path: '/preupload/main', answer: 418 }],
])('what the hub refuses is the error of the push: %s', async (reason, fault) => {
  hub.faults.push(fault);
  const { state, error } = await pushed();
  expect(state).toBe(PushState.FAILED);
  expect(errorOf(error)).toMatchObject({ reason });
  expect((await pushed()).state).toBe(PushState.SUCCEEDED);
});

test.each<[string, string, Partial<PushArtifactRequest>]>([
  ['NOT_FOUND', 'name', { name: `${testProject}/exports/none/artifacts/whole` }],
  ['NOT_FOUND', 'name', { name: `${testProject}/exports/source/artifacts/none` }],
  ['INVALID_ARGUMENT', 'name', { name: `${testProject}/exports/source` }],
  ['INVALID_ARGUMENT', 'repo_id', { repoId: 'my-org' }],
  ['INVALID_ARGUMENT', 'repo_id', { repoId: 'my-org/../x' }],
  ['INVALID_ARGUMENT', 'repo_id', { repoId: '' }],
  ['INVALID_ARGUMENT', 'revision', { revision: 'a'.repeat(40) }],
  ['INVALID_ARGUMENT', 'revision', { revision: '../main' }],
  ['INVALID_ARGUMENT', 'commit_message', { commitMessage: 'two\nlines' }],
  ['INVALID_ARGUMENT', 'commit_message', { commitMessage: 'x'.repeat(201) }],
  ['PERMISSION_DENIED', 'repo_id', { repoId: 'strangers/model' }],
])('%s: %s', async (reason, field, values) => {
  const refused = client.pushArtifact(requestFor(values));
  await expect(refused).rejects.toMatchObject({ reason, field });
  expect(hub.requests).toEqual([]);
});

test('a GGUF file that llama.cpp has not verified is not pushed', async () => {
  const name = `${testProject}/exports/source/artifacts/unverified`;
  await service.deps.exports.putArtifact(`${testProject}/exports/source`, { ...artifact, name, format: 'gguf' }, () =>
    Promise.resolve(),
  );
  const refused = client.pushArtifact(requestFor({ name }));
  await expect(refused).rejects.toMatchObject({ reason: 'WRONG_STATE', field: 'name' });
});

test.each([
  ['PAIRWISE_HUB_PUSH_NAMESPACES', { namespaces: [] }],
  ['HF_TOKEN', { token: undefined }],
])('without %s nothing is pushed, and the error says so', async (variable, given) => {
  const before = { ...access };
  Object.assign(access, given);
  const message = expect.stringContaining(`its ${variable} is not set`) as string;
  await expect(client.pushArtifact(requestFor())).rejects.toMatchObject({ reason: 'WRONG_STATE', message });
  Object.assign(access, before);
});

test('the process that takes over a push uploads nothing again', async () => {
  const before = hub.storedBytes();
  artifact = await exportTiny('taken-over', 'F16');
  const fault = { path: '/commit/main', answer: 503, headers: { 'retry-after': '60' } };
  hub.faults.push(fault);
  const { push } = await client.pushArtifact(requestFor());
  while (!hub.requests.some(isCommit)) await sleep(20);
  const uploaded = hub.storedBytes() - before;
  expect(uploaded).toBeGreaterThan(0);
  await service.stop();
  service = await startTestExportService(access, service.place);
  ({ client } = service);
  expect(await untilEnded(push!)).toMatchObject({ state: PushState.SUCCEEDED });
  expect(hub.storedBytes() - before).toBe(uploaded);
  expect(commitsOf()).toHaveLength(2);
});
