import { setTimeout as sleep } from 'node:timers/promises';
import { ExportServiceService, ExportState, StartExportRequest, type Export } from '@pairwise/api';
import { offences, send } from '@pairwise/api/testing';
import type { Attempt } from '@pairwise/durable';
import { PairwiseError } from '@pairwise/errors';
import { digestOf } from '@pairwise/fingerprint';
import type { Client } from '@pairwise/rpc';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runExport } from './run.ts';
import { testProject, startTestExportService, type TestExportService } from './testing.ts';

let service: TestExportService;
let client: Client<typeof ExportServiceService>;

beforeAll(async () => {
  service = await startTestExportService();
  ({ client } = service);
});
afterAll(() => service.stop());

const merged = (name: string, dtype: string) => ({ name, format: { $case: 'merged' as const, value: { dtype } } });

function requestFor(
  exportId: string,
  targets: StartExportRequest['targets'] = [merged('', 'F32'), merged('half', 'F16')],
) {
  const source = { $case: 'model' as const, value: `${testProject}/models/tiny` };
  return StartExportRequest.create({ parent: testProject, exportId, source, targets });
}

async function untilEnded(name: string): Promise<Export> {
  const over: ExportState[] = [ExportState.SUCCEEDED, ExportState.FAILED, ExportState.CANCELLED];
  for (;;) {
    const { export: now } = await client.getExport({ name });
    if (over.includes(now!.state)) return now!;
    await sleep(50);
  }
}

async function bytesOf(name: string, path: string, offsetBytes: bigint): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const { chunk } of client.downloadArtifact({ name, path, offsetBytes })) chunks.push(chunk);
  return Buffer.concat(chunks);
}

test('artifacts are made, listed in pages, and downloaded from any offset', async () => {
  const { name } = (await client.startExport(requestFor('whole'))).export!;
  expect(await untilEnded(name)).toMatchObject({ state: ExportState.SUCCEEDED, targetCount: 2, error: undefined });
  const page = await client.listArtifacts({ parent: name, pageSize: 1, pageToken: '' });
  const rest = await client.listArtifacts({ parent: name, pageSize: 1, pageToken: page.nextPageToken });
  expect([...page.artifacts, ...rest.artifacts].map((each) => [each.name.split('/').at(-1), each.type])).toEqual([
    ['merged-f32', 'F32'],
    ['half', 'F16'],
  ]);
  expect(rest.nextPageToken).toBe('');
  const { exports } = await client.listExports({ parent: testProject, pageSize: 0, pageToken: '' });
  expect(exports.map((each) => each.name)).toContain(name);
  const [artifact] = page.artifacts;
  for (const { path, digest, sizeBytes } of artifact!.files) {
    const bytes = await bytesOf(artifact!.name, path, 0n);
    expect([digestOf(bytes), BigInt(bytes.length)]).toEqual([digest, sizeBytes]);
    expect(await bytesOf(artifact!.name, path, 10n)).toEqual(bytes.subarray(10));
    expect(await bytesOf(artifact!.name, path, sizeBytes)).toHaveLength(0);
    const beyond = bytesOf(artifact!.name, path, sizeBytes + 1n);
    await expect(beyond).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT', field: 'offset_bytes' });
  }
  const escape = bytesOf(artifact!.name, '../../blobs', 0n);
  await expect(escape).rejects.toMatchObject({ reason: 'NOT_FOUND', field: 'path' });
});

const good = {
  startExport: StartExportRequest.toJSON(requestFor('limits')) as object,
  listExports: { parent: testProject },
  listArtifacts: { parent: `${testProject}/exports/whole` },
  listPushes: { parent: `${testProject}/exports/whole` },
  downloadArtifact: { name: `${testProject}/exports/whole/artifacts/half`, path: 'config.json' },
};
test.each(offences('ExportService', good))('$method rejects $field of $value', async (offence) => {
  const refused = send(client, ExportServiceService, offence);
  await expect(refused).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT', field: offence.field });
});

test('equal requests are the same export, and different inputs are rejected', async () => {
  const { export: made } = await client.getExport({ name: `${testProject}/exports/whole` });
  expect((await client.startExport(requestFor('whole'))).export).toEqual(made);
  const other = client.startExport(requestFor('whole', [merged('', 'F32')]));
  await expect(other).rejects.toMatchObject({ reason: 'ALREADY_EXISTS', field: 'export_id' });
});

test('a cancelled export can be restarted and keeps its finished artifacts', async () => {
  const started = Promise.withResolvers<undefined>();
  const mayContinue = Promise.withResolvers<undefined>();
  service.beforeAttempt = () => {
    started.resolve(undefined);
    return mayContinue.promise;
  };
  const { name } = (await client.startExport(requestFor('cancelled'))).export!;
  await started.promise;
  const first = {
    name: `${name}/artifacts/merged-f32`,
    format: 'merged',
    type: 'F32',
    digest: 'kept',
    files: [],
    caveats: [],
    samples: [],
  };
  await service.deps.exports.putArtifact(name, { ...first, verification: undefined }, () => Promise.resolve());
  expect((await client.cancelExport({ name, requestId: 'stop' })).export?.state).toBe(ExportState.CANCELLING);
  await expect(client.deleteExport({ name, requestId: 'a' })).rejects.toMatchObject({
    reason: 'WRONG_STATE',
    field: 'name',
  });
  mayContinue.resolve(undefined);
  expect(await untilEnded(name)).toMatchObject({ state: ExportState.CANCELLED, error: undefined });
  expect((await client.startExport(requestFor('cancelled'))).export?.state).toBe(ExportState.QUEUED);
  // A late repetition of the call that cancelled it.
  await client.cancelExport({ name, requestId: 'stop' });
  const { state, artifacts } = await untilEnded(name);
  expect(state).toBe(ExportState.SUCCEEDED);
  expect(artifacts.map((each) => each.name.split('/').at(-1))).toEqual(['merged-f32', 'half']);
  expect(artifacts[0]!.digest).toBe('kept');
  await client.deleteExport({ name, requestId: 'a' });
  await client.deleteExport({ name, requestId: 'a' });
  await expect(client.getExport({ name })).rejects.toMatchObject({ reason: 'NOT_FOUND', field: 'name' });
});

test('cancelling an export does not wait for a service that does not answer', async () => {
  const asked = Promise.withResolvers<undefined>();
  service.beforeAttempt = () => {
    service.insteadOfModel = () => asked.resolve(undefined);
    return Promise.resolve();
  };
  const { name } = (await client.startExport(requestFor('silent'))).export!;
  await asked.promise;
  await client.cancelExport({ name, requestId: '' });
  expect((await untilEnded(name)).state).toBe(ExportState.CANCELLED);
  service.insteadOfModel = undefined;
  service.beforeAttempt = undefined;
});

test('a worker that lost its work writes nothing', async () => {
  const request = { ...requestFor('stale'), baseName: 'stale' };
  const { export: whole } = await service.deps.exports.get(`${testProject}/exports/whole`);
  const name = `${testProject}/exports/stale`;
  const queued = { ...whole, name, state: ExportState.QUEUED, artifacts: [] };
  const record = await service.deps.exports.ensure(queued, request);
  const stale = new PairwiseError('STALE_ATTEMPT', 'it was given to another process');
  const attempt: Attempt = {
    id: 'stale',
    activity: (_name, work) => work(new AbortController().signal),
    fence: () => Promise.reject(stale),
  };
  await expect(runExport(service.deps, name, attempt)).rejects.toBe(stale);
  expect(await service.deps.exports.get(name)).toEqual(record);
});

test.each<[string, string, Partial<StartExportRequest>]>([
  ['INVALID_ARGUMENT', 'source', { source: undefined }],
  ['INVALID_ARGUMENT', 'targets', { targets: [] }],
  ['INVALID_ARGUMENT', 'targets', { targets: Array.from({ length: 33 }, (_, n) => merged(`t${n}`, 'F32')) }],
  ['INVALID_ARGUMENT', 'targets[1].name', { targets: [merged('a', 'F32'), merged('a', 'F16')] }],
  ['INVALID_ARGUMENT', 'targets[0]', { targets: [{ name: 'x', format: undefined }] }],
  ['INVALID_ARGUMENT', 'targets[0]', { targets: [{ name: '', format: { $case: 'adapter', value: {} } }] }],
  ['INVALID_ARGUMENT', 'targets[0]', { targets: [{ name: '', format: { $case: 'ggufAdapter', value: {} } }] }],
  ['INVALID_ARGUMENT', 'targets[0].merged.dtype', { targets: [merged('', 'F64')] }],
  ['INVALID_ARGUMENT', 'encoding', { targets: [{ name: '', format: { $case: 'gguf', value: { type: 'F16' } } }] }],
  [
    'NOT_FOUND',
    'eval_encoding',
    {
      targets: [{ name: '', format: { $case: 'gguf', value: { type: 'F16' } } }],
      encoding: `${testProject}/encodings/pairs`,
      evalEncoding: `${testProject}/encodings/none`,
    },
  ],
  ['INVALID_ARGUMENT', 'base_name', { baseName: '../x' }],
  ['INVALID_ARGUMENT', 'export_id', { exportId: 'Not_A_Label' }],
  ['NOT_FOUND', 'model', { source: { $case: 'model', value: `${testProject}/models/none` } }],
  [
    'NOT_FOUND',
    'checkpoint',
    { source: { $case: 'checkpoint', value: `${testProject}/trainings/t/checkpoints/none` } },
  ],
  [
    'UNKNOWN_FIELD',
    'targets[0].merged',
    {
      targets: [
        { name: '', format: { $case: 'merged', value: { _unknownFields: { 7994: [new Uint8Array([1, 120])] } } } },
      ] as StartExportRequest['targets'],
    },
  ],
])('%s: %s', async (reason, field, change) => {
  const refused = client.startExport({ ...requestFor('refused'), ...change });
  await expect(refused).rejects.toMatchObject({ reason, field });
});
