import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ModelState, type ModelSource } from '@pairwise/api';
import { readSafetensors, writeSafetensors, type TensorData } from '@pairwise/safetensors';
import { parseDigest } from '@pairwise/fingerprint';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTestHub, type TestHub } from '@pairwise/hub/testing';
import { sharedFolder, writeTinyModel } from '@pairwise/testing';
import { parent, startTestService, type TestService } from '../testing.ts';

const shared = sharedFolder();
let service: TestService;
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

/** Writes the tiny model to a new folder; its config.json contains `name`. */
function tiny(name: string): string {
  const folder = join(service.folder, name);
  writeTinyModel(folder, name);
  return folder;
}

describe('importing', () => {
  test('a folder is imported once, with the digests of its files', async () => {
    const folder = tiny('once');
    const begun = await service.importModel(uri(`file://${folder}`));
    const model = await service.imported(begun.name);
    expect(model.error).toBeUndefined();
    expect(model).toMatchObject({ state: ModelState.READY, architecture: 'LlamaForCausalLM', dtype: 'F32' });
    expect(model).toMatchObject({ maxLength: 512, vocabularySize: 258, repoId: '', parameterCount: 26_848n });
    expect(model.receivedSizeBytes).toBe(model.totalSizeBytes);
    for (const { path, digest } of model.files) {
      expect(await service.blobs.get(parseDigest(digest))).toEqual(readFileSync(join(folder, path)));
    }
    expect((await service.importModel(uri(folder))).name).toBe(model.name);
    const copy = await service.importModel(uri(folder), 'copy');
    expect(copy.name).toBe(`${parent}/models/copy`);
    expect((await service.imported(copy.name)).digest).toBe(model.digest);
    expect((await service.importModel(uri(folder), 'copy')).name).toBe(copy.name);
    const other = service.importModel(uri(tiny('other')), 'copy');
    await expect(other).rejects.toMatchObject({ reason: 'ALREADY_EXISTS', field: 'model_id' });
  });

  test('a folder that has changed is imported as another model', async () => {
    const folder = tiny('changing');
    const before = await service.imported((await service.importModel(uri(folder))).name);
    writeTinyModel(folder, 'changed');
    utimesSync(join(folder, 'config.json'), 1, 1);
    const after = await service.imported((await service.importModel(uri(folder))).name);
    expect(after.name).not.toBe(before.name);
    expect(after.digest).not.toBe(before.digest);
  });

  test('concurrent calls import a source once', async () => {
    const folder = tiny('many');
    const begun = await Promise.all(Array.from({ length: 8 }, () => service.importModel(uri(folder))));
    expect(new Set(begun.map(({ name }) => name)).size).toBe(1);
  });

  test('a repository is imported with its commit', async () => {
    const source: ModelSource = { source: { $case: 'hub', value: { repoId: 'org/tiny', revision: undefined } } };
    const model = await service.imported((await service.importModel(source)).name);
    expect(model.error).toBeUndefined();
    expect(model).toMatchObject({ state: ModelState.READY, repoId: 'org/tiny', commit: hub.commit });
    expect((await service.importModel(uri(`hf://org/tiny@${hub.commit}`))).name).toBe(model.name);
    const unknown = service.importModel(uri('hf://org/none'));
    await expect(unknown).rejects.toMatchObject({ reason: 'NOT_FOUND' });
  });

  test('validating does not import anything', async () => {
    const request = { parent, modelId: 'checked', source: uri(tiny('checked')), requestId: '', validateOnly: true };
    const { model } = await service.model.importModel(request);
    expect(model!.architecture).toBe('LlamaForCausalLM');
    await expect(service.model.getModel({ name: model!.name })).rejects.toMatchObject({ reason: 'NOT_FOUND' });
  });

  test('a deleted model cannot be found', async () => {
    const { name } = await service.importModel(uri(tiny('deleted')), 'deleted');
    const request = { name, requestId: 'delete' };
    await service.model.deleteModel(request);
    await service.model.deleteModel(request);
    await expect(service.model.getModel({ name })).rejects.toMatchObject({ reason: 'NOT_FOUND' });
    const { models } = await service.model.listModels({ parent, pageSize: 0, pageToken: '' });
    expect(models.map((model) => model.name)).not.toContain(name);
  });
});

/** Rewrites the weights with changes. */
function alterWeights(folder: string, alter: (tensors: Tensor[]) => Tensor[]) {
  const path = join(folder, 'model.safetensors');
  writeFileSync(path, writeSafetensors(alter(tensorsOf(path))));
}

type Tensor = TensorData & { data: Float32Array };

function tensorsOf(path: string): Tensor[] {
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
  ['relu', 'UNSUPPORTED_CONFIG', 'hidden_act', (f) => editConfig(f, { hidden_act: 'relu' })],
  ['no-config', 'INVALID_MODEL', 'config.json', (f) => rmSync(join(f, 'config.json'))],
  ['null-config', 'INVALID_MODEL', 'config.json', (f) => writeFileSync(join(f, 'config.json'), 'null')],
  ['no-tokenizer', 'INVALID_MODEL', 'tokenizer.json', (f) => rmSync(join(f, 'tokenizer.json'))],
  ['bad-tokenizer', 'INVALID_MODEL', 'tokenizer.json', (f) => writeFileSync(join(f, 'tokenizer.json'), '{}')],
  ['empty', 'INVALID_MODEL', 'model.safetensors', (f) => readdirSync(f).forEach((each) => rmSync(join(f, each)))],
])(
  'importing the model %s fails with %s, and inspecting it returns the same obstacle',
  async (name, reason, text, spoil) => {
    const folder = tiny(name);
    spoil(folder);
    const error = await service.importModel(uri(folder)).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ reason });
    expect((error as Error).message).toContain(text);
    const found = await service.model.inspectModel({ parent, source: uri(folder) });
    expect(found.supported).toBe(false);
    expect(found.obstacles[0]!.message).toBe((error as Error).message);
  },
);

test.each<[string, string]>([
  ['relative/path', 'INVALID_ARGUMENT'],
  ['ftp://host/model', 'INVALID_ARGUMENT'],
  ['hf://nonsense', 'INVALID_ARGUMENT'],
  ['file:///etc', 'PERMISSION_DENIED'],
  ['/etc/../etc', 'PERMISSION_DENIED'],
])('the source %s is rejected with %s', async (source, reason) => {
  await expect(service.importModel(uri(source))).rejects.toMatchObject({ reason });
  await expect(service.model.inspectModel({ parent, source: uri(source) })).rejects.toMatchObject({ reason });
});

test('inspection describes a model', async () => {
  const found = await service.model.inspectModel({ parent, source: uri(tiny('inspected')) });
  expect(found).toMatchObject({ supported: true, obstacles: [], parameterCount: 26_848n, hasChatTemplate: false });
  expect(found).toMatchObject({ warnings: [], ggufObstacles: [] });
  const none = service.model.inspectModel({ parent, source: undefined });
  await expect(none).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT', field: 'source' });
});

test('what a trainable model cannot do is known from inspecting and importing it', async () => {
  const folder = tiny('limited');
  const path = join(folder, 'tokenizer.json');
  const tokenizer = JSON.parse(readFileSync(path, 'utf8')) as { added_tokens: object[] };
  const stranger = { ...tokenizer.added_tokens[0], id: 258, content: '<pad>' };
  const digits = { type: 'Digits', individual_digits: false };
  const changes = { added_tokens: [...tokenizer.added_tokens, stranger], pre_tokenizer: digits };
  writeFileSync(path, JSON.stringify({ ...tokenizer, ...changes }));
  const warning =
    'The embedding has 258 rows, too few for these tokens: "<pad>" (258). Pairs that need them are left out.';
  const obstacle = expect.stringContaining('llama.cpp does not support this pre_tokenizer (Digits)') as string;

  const found = await service.model.inspectModel({ parent, source: uri(folder) });
  expect(found).toMatchObject({ supported: true, obstacles: [], warnings: [warning] });
  expect(found.ggufObstacles).toEqual([expect.objectContaining({ message: obstacle })]);
  const model = await service.imported((await service.importModel(uri(folder))).name);
  expect(model).toMatchObject({ state: ModelState.READY });
  expect(model.warnings).toEqual([warning, obstacle]);
});

test('a sliding window that llama.cpp does not have is a warning', async () => {
  const folder = tiny('windowed');
  const path = join(folder, 'config.json');
  const config = JSON.parse(readFileSync(path, 'utf8')) as object;
  writeFileSync(path, JSON.stringify({ ...config, architectures: ['MistralForCausalLM'], sliding_window: 16 }));
  const found = await service.model.inspectModel({ parent, source: uri(folder) });
  expect(found.warnings).toEqual([expect.stringContaining('the file allows 16 tokens of context')]);
});

test.skipIf(!shared)(
  'of a model for images and text only the text part is taken (skipped without ../shared)',
  async () => {
    const [source, folder] = [join(shared!, 'archs/gemma3-text'), join(service.folder, 'multimodal')];
    cpSync(source, folder, { recursive: true });
    const text = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as object;
    const outer = { architectures: ['Gemma3ForConditionalGeneration'], text_config: text, vision_config: {} };
    writeFileSync(join(folder, 'config.json'), JSON.stringify(outer));
    const weights = readSafetensors(readFileSync(join(folder, 'model.safetensors')));
    const renamed = [...weights].map(([name, tensor]) => ({
      ...tensor,
      dtype: 'F32' as const,
      name: `language_model.${name}`,
    }));
    writeFileSync(join(folder, 'model.safetensors'), writeSafetensors(renamed));
    const found = await service.model.inspectModel({ parent, source: uri(folder) });
    expect(found).toMatchObject({ supported: true, architecture: 'Gemma3ForCausalLM', ggufObstacles: [] });
    expect(found.warnings).toEqual([expect.stringContaining('Only the text part')]);
    const model = await service.imported((await service.importModel(uri(folder))).name);
    expect(model.warnings).toEqual(found.warnings);
  },
);

test('an adapter in place of a model is refused for what it is', async () => {
  const folder = join(service.folder, 'adapter');
  mkdirSync(folder);
  writeFileSync(join(folder, 'adapter_config.json'), JSON.stringify({ base_model_name_or_path: 'org/base' }));
  writeFileSync(join(folder, 'adapter_model.safetensors'), writeSafetensors([]));
  const found = await service.model.inspectModel({ parent, source: uri(folder) });
  expect(found.supported).toBe(false);
  expect(found.obstacles.map(({ message }) => message)).toEqual([
    expect.stringContaining('this is a PEFT adapter of "org/base"'),
  ]);
});
