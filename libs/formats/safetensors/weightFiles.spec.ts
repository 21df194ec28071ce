import { expect, test } from 'vitest';
import { indexName, weightFiles } from './index.ts';

const indexOf = (...files: unknown[]) => ({
  metadata: { total_size: 1 },
  weight_map: Object.fromEntries(files.map((file, tensor) => [`tensor ${tensor}`, file])),
});
const choose = (files: string[], index: unknown) => weightFiles(files, () => Promise.resolve(index));
/** The choice among files beside an index. */
const byIndex = (files: string[], index: unknown) => choose([indexName, ...files], index);
const [first, second] = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'];
const invalid = (text: string) =>
  expect.objectContaining({ reason: 'INVALID_MODEL', message: expect.stringContaining(text) as string }) as Error;

test('model.safetensors is the only weight file, whatever an index beside it says', async () => {
  const noIndex = () => Promise.reject(new Error('the index is not read'));
  expect(await weightFiles(['config.json', 'model.safetensors'], noIndex)).toEqual(['model.safetensors']);
  const folder = [first, second, 'model.safetensors', indexName];
  expect(await weightFiles(folder, noIndex)).toEqual(['model.safetensors']);
});

test('a folder without weights is refused', async () => {
  await expect(choose(['config.json', 'pytorch_model.bin'], undefined)).rejects.toThrow(
    invalid('neither model.safetensors nor model.safetensors.index.json'),
  );
});

test('an index names each file once, and files that it does not name are left alone', async () => {
  expect(await byIndex([first, second, 'other.safetensors'], indexOf(second, first, second))).toEqual([first, second]);
});

test('a file that the index names and the folder lacks is refused', async () => {
  await expect(byIndex([first], indexOf(first, second))).rejects.toThrow(invalid(`names "${second}", which is not in`));
});

test('too many weight files are refused, whether they exist or not', async () => {
  const names = (count: number) => Array.from({ length: count }, (_, n) => `model-${n}.safetensors`);
  expect(await byIndex(names(1000), indexOf(...names(1000)))).toHaveLength(1000);
  const many = names(100_000);
  await expect(byIndex(many, indexOf(...many))).rejects.toThrow(
    invalid('names 100000 files; a model may have at most 1000 weight files'),
  );
});

test.each([
  '../model.safetensors',
  'sub/model.safetensors',
  '/etc/model.safetensors',
  'a\\model.safetensors',
  'model.safetensors\n',
  'model.safetensors\u0000.safetensors',
  'model.bin',
  '',
  5,
  null,
  ['model.safetensors'],
  { toString: 'model.safetensors' },
])('the file name %j is refused, even where such a file exists', async (name) => {
  const files = typeof name === 'string' ? [name] : [first];
  await expect(byIndex(files, indexOf(name))).rejects.toThrow(invalid('a plain name ending in .safetensors'));
});

test.each([null, 5, 'index', [], {}, { weight_map: null }, { weight_map: {} }, { weight_map: 'model.safetensors' }])(
  'the index %j is refused',
  async (broken) => {
    await expect(byIndex([first], broken)).rejects.toThrow(
      expect.objectContaining({ reason: 'INVALID_MODEL', field: 'model.safetensors.index.json' }) as Error,
    );
  },
);
