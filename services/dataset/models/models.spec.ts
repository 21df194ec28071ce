import { cpSync, readdirSync, readFileSync, rmSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ImportPolicy, ModelState, TruncationMode, type ModelSource } from '@pairwise/api';
import { readSafetensors, writeSafetensors } from '@pairwise/safetensors';
import { unpackPairs } from '@pairwise/preference';
import type { Digest } from '@pairwise/fingerprint';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTestHub, type TestHub } from '@pairwise/hub/testing';
import { tinyPairs, writeTinyModel } from '@pairwise/testing';
import { parent, startTestService } from '../testing.ts';

let service: Awaited<ReturnType<typeof startTestService>>;
let hub: TestHub;

beforeAll(async () => {
  const names = ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'model.safetensors'];
  const folder = join(import.meta.dirname, '../../../node_modules/.cache/pairwise-dataset-spec');
  writeTinyModel(folder, 'on the hub');
  hub = await startTestHub(
    'org/tiny',
    Object.fromEntries(names.map((each) => [each, readFileSync(join(folder, each))])),
  );
  rmSync(folder, { recursive: true });
  service = await startTestService({ endpoint: hub.endpoint });
});
afterAll(async () => {
  await service.stop();
  await hub.close();
});

const uri = (value: string): ModelSource => ({ source: { $case: 'uri', value } });

/** A new folder with the tiny model; `name` is in its config.json. */
function tiny(name: string): string {
  const folder = join(service.folder, name);
  writeTinyModel(folder, name);
  return folder;
}

describe('importing', () => {
  test('a folder is sealed by the digests of its files, once', async () => {
    const folder = tiny('once');
    const begun = await service.importModel(uri(`file://${folder}`));
    const model = await service.imported(begun.name);
    expect(model.error).toBeUndefined();
    expect(model).toMatchObject({ state: ModelState.READY, architecture: 'LlamaForCausalLM', dtype: 'F32' });
    expect(model).toMatchObject({ maxLength: 512, vocabularySize: 258, repoId: '', parameterCount: 26_848n });
    expect(model.receivedSizeBytes).toBe(model.totalSizeBytes);
    for (const { path, digest } of model.files) {
      expect(await service.blobs.get(digest as Digest)).toEqual(readFileSync(join(folder, path)));
    }
    expect((await service.importModel(uri(folder))).name).toBe(model.name);
    const copy = await service.importModel(uri(folder), 'copy');
    expect(copy.name).toBe(`${parent}/models/copy`);
    expect((await service.imported(copy.name)).digest).toBe(model.digest);
    expect((await service.importModel(uri(folder), 'copy')).name).toBe(copy.name);
    const other = service.importModel(uri(tiny('other')), 'copy');
    await expect(other).rejects.toMatchObject({ reason: 'ALREADY_EXISTS', field: 'model_id' });
  });

  test('a folder that has changed is another model', async () => {
    const folder = tiny('changing');
    const before = await service.imported((await service.importModel(uri(folder))).name);
    writeTinyModel(folder, 'changed');
    utimesSync(join(folder, 'config.json'), 1, 1);
    const after = await service.imported((await service.importModel(uri(folder))).name);
    expect(after.name).not.toBe(before.name);
    expect(after.digest).not.toBe(before.digest);
  });

  test('calls at the same time import a source once', async () => {
    const folder = tiny('many');
    const begun = await Promise.all(Array.from({ length: 8 }, () => service.importModel(uri(folder))));
    expect(new Set(begun.map(({ name }) => name)).size).toBe(1);
  });

  test('a repository is imported at its commit', async () => {
    const source: ModelSource = { source: { $case: 'hub', value: { repoId: 'org/tiny', revision: undefined } } };
    const model = await service.imported((await service.importModel(source)).name);
    expect(model.error).toBeUndefined();
    expect(model).toMatchObject({ state: ModelState.READY, repoId: 'org/tiny', commit: hub.commit });
    expect((await service.importModel(uri(`hf://org/tiny@${hub.commit}`))).name).toBe(model.name);
    const unknown = service.importModel(uri('hf://org/none'));
    await expect(unknown).rejects.toMatchObject({ reason: 'NOT_FOUND' });
  });

  test('validating changes nothing', async () => {
    const request = { parent, modelId: 'checked', source: uri(tiny('checked')), requestId: '', validateOnly: true };
    const { model } = await service.model.importModel(request);
    expect(model!.architecture).toBe('LlamaForCausalLM');
    await expect(service.model.getModel({ name: model!.name })).rejects.toMatchObject({ reason: 'NOT_FOUND' });
  });

  test('a deleted model is gone', async () => {
    const { name } = await service.importModel(uri(tiny('deleted')), 'deleted');
    const request = { name, requestId: 'delete' };
    await service.model.deleteModel(request);
    await service.model.deleteModel(request);
    await expect(service.model.getModel({ name })).rejects.toMatchObject({ reason: 'NOT_FOUND' });
    const { models } = await service.model.listModels({ parent, pageSize: 0, pageToken: '' });
    expect(models.map((model) => model.name)).not.toContain(name);
  });
});

/** Writes the tiny model's weights again, altered. */
function alterWeights(folder: string, alter: (tensors: ReturnType<typeof tensorsOf>) => ReturnType<typeof tensorsOf>) {
  const path = join(folder, 'model.safetensors');
  writeFileSync(path, writeSafetensors(alter(tensorsOf(path))));
}

function tensorsOf(path: string) {
  const tensors = readSafetensors(readFileSync(path), 'test');
  return [...tensors].map(([name, { shape, data }]) => ({
    name,
    dtype: 'F32' as const,
    shape,
    data: data as Float32Array,
  }));
}

function editConfig(folder: string, change: object) {
  const path = join(folder, 'config.json');
  writeFileSync(path, JSON.stringify({ ...(JSON.parse(readFileSync(path, 'utf8')) as object), ...change }));
}

const norm = 'model.norm.weight';

test.each<[string, string, string, (folder: string) => void]>([
  ['missing-tensor', 'MISSING_TENSOR', norm, (f) => alterWeights(f, (all) => all.filter(({ name }) => name !== norm))],
  [
    'wrong-shape',
    'WRONG_SHAPE',
    norm,
    (f) => alterWeights(f, (all) => all.map((each) => (each.name === norm ? { ...each, shape: [4, 8] } : each))),
  ],
  ['truncated', 'INVALID_FILE', 'model.safetensors', (f) => truncateSync(join(f, 'model.safetensors'), 20_000)],
  [
    'lying-header',
    'INVALID_FILE',
    'header',
    (f) => {
      const bytes = readFileSync(join(f, 'model.safetensors'));
      bytes.writeBigUInt64LE(1n << 60n);
      writeFileSync(join(f, 'model.safetensors'), bytes);
    },
  ],
  [
    'pickle',
    'UNSUPPORTED_FORMAT',
    'pytorch_model.bin',
    (f) => {
      rmSync(join(f, 'model.safetensors'));
      writeFileSync(join(f, 'pytorch_model.bin'), 'x');
    },
  ],
  ['qwen', 'UNSUPPORTED_ARCHITECTURE', 'Qwen9', (f) => editConfig(f, { architectures: ['Qwen9ForCausalLM'] })],
  ['biased', 'UNSUPPORTED_CONFIG', 'attention_bias', (f) => editConfig(f, { attention_bias: true })],
  ['no-config', 'INVALID_MODEL', 'config.json', (f) => rmSync(join(f, 'config.json'))],
  ['null-config', 'INVALID_MODEL', 'config.json', (f) => writeFileSync(join(f, 'config.json'), 'null')],
  ['no-tokenizer', 'INVALID_MODEL', 'tokenizer.json', (f) => rmSync(join(f, 'tokenizer.json'))],
  ['bad-tokenizer', 'INVALID_MODEL', 'tokenizer.json', (f) => writeFileSync(join(f, 'tokenizer.json'), '{}')],
  ['empty', 'INVALID_MODEL', 'model.safetensors', (f) => readdirSync(f).forEach((each) => rmSync(join(f, each)))],
])('the model %s is refused with %s, and inspection says the same', async (name, reason, text, spoil) => {
  const folder = tiny(name);
  spoil(folder);
  const error = await service.importModel(uri(folder)).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ reason });
  expect((error as Error).message).toContain(text);
  const found = await service.model.inspectModel({ parent, source: uri(folder) });
  expect(found.supported).toBe(false);
  expect(found.obstacles[0]!.message).toBe((error as Error).message);
});

test.each<[string, string]>([
  ['relative/path', 'INVALID_ARGUMENT'],
  ['ftp://host/model', 'INVALID_ARGUMENT'],
  ['hf://nonsense', 'INVALID_ARGUMENT'],
  ['file:///etc', 'PERMISSION_DENIED'],
  ['/etc/../etc', 'PERMISSION_DENIED'],
])('the source %s is refused with %s', async (source, reason) => {
  await expect(service.importModel(uri(source))).rejects.toMatchObject({ reason });
  await expect(service.model.inspectModel({ parent, source: uri(source) })).rejects.toMatchObject({ reason });
});

test('inspection tells what a model is', async () => {
  const found = await service.model.inspectModel({ parent, source: uri(tiny('inspected')) });
  expect(found).toMatchObject({ supported: true, obstacles: [], parameterCount: 26_848n, hasChatTemplate: false });
  const none = service.model.inspectModel({ parent, source: undefined });
  await expect(none).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT', field: 'source' });
});

describe('encoding', () => {
  const cut = { maxLength: undefined, truncationMode: TruncationMode.UNSPECIFIED };
  let version: string;
  let model: string;

  beforeAll(async () => {
    const { name } = await service.create('encoded');
    await service.upload(name, tinyPairs(2100));
    version = (await service.seal(name)).name;
    ({ name: model } = await service.imported((await service.importModel(uri(tiny('encoder')))).name));
  });

  test('a version is encoded once for a tokenizer and limits, in shards', async () => {
    const request = { name: version, model, ...cut };
    const made = await Promise.all([1, 2, 3].map(() => service.dataset.encodeVersion(request)));
    const [encoding] = made.map((each) => each.encoding!);
    expect(new Set(made.map((each) => each.encoding!.name)).size).toBe(1);
    expect(encoding).toMatchObject({ pairCount: 2100, maxLength: 512, truncationMode: TruncationMode.REFUSE });
    expect(encoding!.shardDigests.length).toBe(3);
    const shards = await Promise.all(encoding!.shardDigests.map((each) => service.blobs.get(each as Digest)));
    const pairs = shards.flatMap((shard) => unpackPairs(shard));
    const digests = [];
    for await (const { pair } of service.dataset.readPairs({ name: version, offset: 0, limit: 0 })) {
      digests.push(pair!.digest);
    }
    expect(pairs.map(({ pairDigest }) => pairDigest)).toEqual(digests);
    // Tokens of this model are bytes, after a BOS and before an EOS.
    expect(pairs[0]!.prompt[0]).toBe(256);
    expect(pairs[0]!.chosen.at(-1)).toBe(257);
    expect((await service.dataset.getEncoding({ name: encoding!.name })).encoding).toEqual(encoding);
  });

  test('what decides on the ids decides on the encoding', async () => {
    const name = async (change: object) => {
      const { encoding } = await service.dataset.encodeVersion({ name: version, model, ...cut, ...change });
      return encoding!.name;
    };
    const same = tiny('same-tokenizer');
    cpSync(join(service.folder, 'encoder'), same, { recursive: true });
    const { name: twin } = await service.imported((await service.importModel(uri(same))).name);
    const base = await name({});
    expect(await name({ model: twin })).toBe(base);
    expect(await name({ maxLength: 512 })).toBe(base);
    expect(await name({ maxLength: 100 })).not.toBe(base);
    expect(await name({ truncationMode: TruncationMode.KEEP_START })).not.toBe(base);
  });

  test('pairs that cannot be kept are counted, and none at all is an error', async () => {
    const some = await service.dataset.encodeVersion({ name: version, model, ...cut, maxLength: 40 });
    const { pairCount, report } = some.encoding!;
    expect(pairCount + report!.refusedCount).toBe(2100);
    expect(report!.refused.map(({ reason }) => reason)).toEqual(['TOO_LONG']);
    const none = service.dataset.encodeVersion({ name: version, model, ...cut, maxLength: 3 });
    await expect(none).rejects.toMatchObject({ reason: 'EMPTY_DATASET', metadata: { PROMPT_TOO_LONG: '2100' } });
  });

  test.each([0, 1, 513])('max_length %i is refused', async (maxLength) => {
    const call = service.dataset.encodeVersion({ name: version, model, ...cut, maxLength });
    await expect(call).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT', field: 'max_length' });
  });

  test('messages need a chat template', async () => {
    const { name } = await service.create('messages');
    const one = (role: string, content: string) => [{ role, content }];
    const pair = { prompt: one('user', 'a'), chosen: one('assistant', 'b'), rejected: one('assistant', 'c') };
    await service.upload(name, JSON.stringify([pair]), { policy: ImportPolicy.STRICT });
    const call = service.dataset.encodeVersion({ name: (await service.seal(name)).name, model, ...cut });
    await expect(call).rejects.toMatchObject({ reason: 'UNSUPPORTED_CONFIG', field: 'chat_template' });
  });

  test('an encoding outlives its dataset', async () => {
    const { encoding } = await service.dataset.encodeVersion({ name: version, model, ...cut });
    const name = version.slice(0, version.indexOf('/versions/'));
    await service.dataset.deleteDataset({ name, etag: '', requestId: '' });
    expect((await service.dataset.getEncoding({ name: encoding!.name })).encoding!.name).toBe(encoding!.name);
    const again = service.dataset.encodeVersion({ name: version, model, ...cut });
    await expect(again).rejects.toMatchObject({ reason: 'NOT_FOUND', field: 'name' });
  });
});
