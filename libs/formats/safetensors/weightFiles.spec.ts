import { expect, test } from 'vitest';
import { weightFiles } from './index.ts';

const index = (...files: unknown[]) => ({
  metadata: { total_size: 1 },
  weight_map: Object.fromEntries(files.map((file, tensor) => [`tensor ${tensor}`, file])),
});
const [first, second] = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'];
const invalid = (text: string) =>
  expect.objectContaining({ reason: 'INVALID_MODEL', message: expect.stringContaining(text) as string }) as Error;

test('without an index there is one file', () => {
  expect(weightFiles(['config.json', 'model.safetensors'], undefined)).toEqual(['model.safetensors']);
  expect(() => weightFiles(['config.json', 'pytorch_model.bin'], undefined)).toThrow(
    invalid('neither model.safetensors nor model.safetensors.index.json'),
  );
});

test('an index names each file once, and files that it does not name are left alone', () => {
  const folder = ['model.safetensors', first, second, 'other.safetensors'];
  expect(weightFiles(folder, index(second, first, second))).toEqual([first, second]);
});

test('a file that the index names and the folder lacks is refused', () => {
  expect(() => weightFiles([first], index(first, second))).toThrow(invalid(`names "${second}", which is not in`));
});

test('too many weight files are refused, whether they exist or not', () => {
  const names = (count: number) => Array.from({ length: count }, (_, n) => `model-${n}.safetensors`);
  expect(weightFiles(names(1000), index(...names(1000)))).toHaveLength(1000);
  const many = names(100_000);
  expect(() => weightFiles(many, index(...many))).toThrow(
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
])('the file name %j is refused, even where such a file exists', (name) => {
  const files = typeof name === 'string' ? [name] : ['model.safetensors'];
  expect(() => weightFiles(files, index(name))).toThrow(invalid('a plain name ending in .safetensors'));
});

test.each([null, 5, 'index', [], {}, { weight_map: null }, { weight_map: {} }, { weight_map: 'model.safetensors' }])(
  'the index %j is refused',
  (broken) => {
    expect(() => weightFiles(['model.safetensors'], broken)).toThrow(
      expect.objectContaining({ reason: 'INVALID_MODEL', field: 'model.safetensors.index.json' }) as Error,
    );
  },
);
