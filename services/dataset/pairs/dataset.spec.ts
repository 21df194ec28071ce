import { readdirSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { ImportPolicy, ImportState } from '@pairwise/api';
import { digestOf } from '@pairwise/fingerprint';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { jsonl, parent, row, startTestService, type TestService, uploadOf } from '../testing.ts';

let service: TestService;
let name: string;
let count = 0;

beforeAll(async () => (service = await startTestService()));
beforeEach(async () => ({ name } = await service.create(`set-${(count += 1)}`)));
afterAll(() => service.stop());

async function pairsOf(version: string, offset = 0, limit = 0) {
  const pairs = [];
  for await (const { pair, position } of service.dataset.readPairs({ name: version, offset, limit })) {
    pairs.push({ position, ...pair! });
  }
  return pairs;
}

const rows = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => row(from + index));

test('a version contains each pair once, sorted by digest, whatever the order and format of the file', async () => {
  await service.upload(name, jsonl(...rows(0, 50), row(7)));
  const version = await service.seal(name);
  expect(version).toMatchObject({ name: `${name}/versions/1`, pairCount: 50 });
  expect(version.report).toMatchObject({ acceptedCount: 50, duplicateCount: 1, refusedCount: 0 });
  const pairs = await pairsOf(version.name);
  expect(pairs.map(({ digest }) => digest)).toEqual(pairs.map(({ digest }) => digest).sort());
  expect(pairs.map(({ prompt }) => prompt!.text).sort()).toEqual(
    rows(0, 50)
      .map(({ prompt }) => prompt)
      .sort(),
  );

  const { name: other } = await service.create(`set-${(count += 1)}`);
  await service.upload(other, gzipSync(JSON.stringify(rows(0, 50).reverse())));
  expect((await service.seal(other)).digest).toBe(version.digest);
});

test('a new version adds only the new pairs to those of the previous version', async () => {
  const before = readdirSync(service.staged);
  await service.upload(name, jsonl(...rows(0, 5)));
  await service.seal(name);
  await service.upload(name, jsonl(...rows(3, 8)), { importId: 'more' });
  const second = await service.seal(name);
  expect(second).toMatchObject({ name: `${name}/versions/2`, pairCount: 8 });
  expect(second.report).toMatchObject({ acceptedCount: 8, duplicateCount: 2 });
  expect((await service.dataset.getDataset({ name })).dataset!.latestVersion).toBe(2);
  const { versions } = await service.dataset.listDatasetVersions({ parent: name, pageSize: 1, pageToken: '' });
  expect(versions.map((each) => each.name)).toEqual([second.name]);
  const { imports } = await service.dataset.listImports({ parent: name, pageSize: 0, pageToken: '' });
  expect(imports.map(({ report }) => report!.acceptedCount)).toEqual([5, 5]);
  expect(imports[0]!.name).toBe(`${name}/imports/more`);
  expect(readdirSync(service.staged)).toEqual(before);
});

test('pairs can be read from any position', async () => {
  await service.upload(name, jsonl(...rows(0, 10)));
  const { name: version } = await service.seal(name);
  const all = await pairsOf(version);
  expect(await pairsOf(version, 4)).toEqual(all.slice(4));
  expect(await pairsOf(version, 4, 3)).toEqual(all.slice(4, 7));
  await expect(pairsOf(version, -1)).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT', field: 'offset' });
});

test('sealing happens once per request id, and fails without new imports', async () => {
  await service.upload(name, jsonl(row(1)));
  const sealed = await Promise.all(Array.from({ length: 8 }, () => service.seal(name, `seal ${name}`)));
  expect(new Set(sealed.map((version) => version.name))).toEqual(new Set([`${name}/versions/1`]));
  await expect(service.seal(name)).rejects.toMatchObject({ reason: 'EMPTY_DATASET', field: 'parent' });
  await expect(service.seal(`${parent}/datasets/none`)).rejects.toMatchObject({ reason: 'NOT_FOUND', field: 'parent' });
});

test('an interrupted upload resumes where it ended', async () => {
  const file = Buffer.from(jsonl(...rows(0, 4000)));
  await expect(service.upload(name, file, { breakAt: 100_000 })).rejects.toMatchObject({ field: 'finish' });
  const importName = `${name}/imports/file`;
  const { import: found } = await service.dataset.getImport({ name: importName });
  expect(found).toMatchObject({ state: ImportState.RECEIVING, committedSizeBytes: 100_000n });
  await expect(service.upload(name, file, { from: 50_000 })).rejects.toMatchObject({
    reason: 'WRONG_STATE',
    field: 'header.offset_bytes',
    metadata: { committed_size_bytes: '100000' },
  });
  await expect(service.seal(name)).rejects.toMatchObject({ reason: 'EMPTY_DATASET' });
  const done = await service.upload(name, file, { from: 100_000 });
  expect(done.state).toBe(ImportState.READY);
  expect((await service.seal(name)).pairCount).toBe(4000);
  // A caller that missed the response sends everything again.
  expect((await service.upload(name, file)).report).toEqual(done.report);
  await expect(service.upload(name, jsonl(row(1)))).rejects.toMatchObject({ field: 'header.import_id' });
});

test('an upload that was damaged in transit is discarded', async () => {
  const digest = digestOf(Buffer.from('something else'));
  const file = jsonl(row(1));
  await expect(service.upload(name, file, { digest })).rejects.toMatchObject({ reason: 'DIGEST_MISMATCH' });
  const { import: found } = await service.dataset.getImport({ name: `${name}/imports/file` });
  expect(found!.committedSizeBytes).toBe(0n);
  expect((await service.upload(name, file)).state).toBe(ImportState.READY);
});

const good = jsonl(row(1));
test.each<[string, string | Buffer, string, string]>([
  ['an empty file', '', 'INVALID_FILE', 'is empty'],
  ['whitespace', ' \n\n', 'INVALID_FILE', 'is empty'],
  ['an empty array', '[]', 'EMPTY_DATASET', 'none of'],
  ['broken JSON', `${good}{"prompt": \n`, 'INVALID_PAIR', 'row 2'],
  ['a row that is not an object', `${good}[1]\n`, 'INVALID_PAIR', 'row 2'],
  ['a missing field', `${good}${jsonl({ prompt: 'a', chosen: 'b' })}`, 'INVALID_PAIR', 'rejected is missing'],
  ['identical responses', jsonl({ prompt: 'a', chosen: 'b', rejected: 'b' }), 'INVALID_PAIR', 'the same'],
  ['an empty response', jsonl({ prompt: 'a', chosen: '', rejected: 'b' }), 'INVALID_PAIR', 'chosen is empty'],
  ['a NUL', jsonl({ prompt: 'a\0', chosen: 'b', rejected: 'c' }), 'INVALID_PAIR', 'NUL'],
  ['half a surrogate pair', `{"prompt":"\\ud800","chosen":"b","rejected":"c"}\n`, 'INVALID_PAIR', 'surrogate'],
  ['bytes that are not UTF-8', Buffer.from([0x7b, 0xff, 0xfe, 0x0a]), 'INVALID_PAIR', 'row 1'],
  ['a truncated gzip file', gzipSync(good.repeat(50)).subarray(0, 40), 'INVALID_FILE', 'truncated'],
  ['a damaged gzip file', damaged(gzipSync(good)), 'INVALID_FILE', 'damaged'],
  ['a gzip bomb', gzipSync(Buffer.alloc(100 * 1024 * 1024, ' ')), 'INVALID_FILE', '200 times'],
])('%s is rejected and leaves no files behind', async (_, file, reason, text) => {
  const before = readdirSync(service.staged);
  const error = await service.upload(name, file).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ reason, field: 'chunk' });
  expect((error as Error).message).toContain(text);
  expect(readdirSync(service.staged)).toEqual(before);
  const { import: found } = await service.dataset.getImport({ name: `${name}/imports/file` });
  expect(found!.state).toBe(ImportState.FAILED);
  expect(found!.error!.message).toContain(text);
  await expect(service.seal(name)).rejects.toMatchObject({ reason: 'EMPTY_DATASET' });
});

function damaged(bytes: Buffer): Buffer {
  bytes[20]! ^= 0xff;
  return bytes;
}

test('with SKIP, bad rows are counted by reason and their lines are listed', async () => {
  const file = `${good}{"prompt"\n${jsonl({ prompt: 'a', chosen: '', rejected: 'b' }, row(2), { chosen: 'x' })}`;
  const { report } = await service.upload(name, file, { policy: ImportPolicy.SKIP });
  expect(report).toMatchObject({ acceptedCount: 2, refusedCount: 3 });
  expect(report!.refused.map(({ reason, firstLines }) => [reason, firstLines])).toEqual([
    ['BROKEN_JSON', [2]],
    ['EMPTY_RESPONSE', [3]],
    ['MISSING_FIELD', [5]],
  ]);
});

test('a file with only bad rows is rejected, even with SKIP', async () => {
  const file = jsonl({ prompt: 'a', chosen: 'b' });
  const upload = service.upload(name, file, { policy: ImportPolicy.SKIP });
  await expect(upload).rejects.toMatchObject({ reason: 'EMPTY_DATASET', metadata: { MISSING_FIELD: '1' } });
});

test('a stream without a header, or with two, is rejected', async () => {
  const [header, ...others] = await Array.fromAsync(uploadOf(name, Buffer.from(good)));
  const send = (...messages: (typeof header)[]) => service.dataset.importPairs(streamOf(messages));
  await expect(send(...others)).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT', field: 'header' });
  await expect(send(header, header, ...others)).rejects.toMatchObject({ field: 'header' });
  await expect(send()).rejects.toMatchObject({ field: 'header' });
});

async function* streamOf<T>(messages: (T | undefined)[]): AsyncGenerator<T> {
  for (const message of messages) yield await Promise.resolve(message!);
}

test('deleting a dataset deletes its versions, and its name stays taken', async () => {
  await service.upload(name, good);
  const version = await service.seal(name);
  const { dataset } = await service.dataset.getDataset({ name });
  await expect(service.dataset.deleteDataset({ name, etag: '1', requestId: '' })).rejects.toMatchObject({
    reason: 'ETAG_MISMATCH',
  });
  const request = { name, etag: dataset!.etag, requestId: `delete ${name}` };
  await service.dataset.deleteDataset(request);
  await service.dataset.deleteDataset(request);
  for (const call of [
    () => service.dataset.getDataset({ name }),
    () => service.dataset.getDatasetVersion({ name: version.name }),
    () => service.dataset.getImport({ name: `${name}/imports/file` }),
    () => service.upload(name, good, { importId: 'late' }),
  ]) {
    await expect(call()).rejects.toMatchObject({ reason: 'NOT_FOUND' });
  }
  await expect(service.create(name.split('/').at(-1)!)).rejects.toMatchObject({ reason: 'ALREADY_EXISTS' });
});

test('a dataset is created once per request id, and not if only validating', async () => {
  const request = { parent, datasetId: '', requestId: 'twenty', validateOnly: false };
  const made = await Promise.all(Array.from({ length: 20 }, () => service.dataset.createDataset(request)));
  expect(new Set(made.map(({ dataset }) => dataset!.name)).size).toBe(1);
  const check = (datasetId: string) =>
    service.dataset.createDataset({ parent, datasetId, requestId: '', validateOnly: true });
  const { dataset } = await check('only-checked');
  await expect(service.dataset.getDataset({ name: dataset!.name })).rejects.toMatchObject({ reason: 'NOT_FOUND' });
  await expect(check(name.split('/').at(-1)!)).rejects.toMatchObject({ reason: 'ALREADY_EXISTS', field: 'dataset_id' });
  await expect(check('Not A Label')).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT', field: 'dataset_id' });
});
