import { expect, test } from 'vitest';
import { selectFiles } from './files.ts';

const noIndex = () => Promise.reject(new Error('the index is not read'));

test('a file that is listed many times is selected once', async () => {
  const names = Array.from({ length: 100_000 }, (_, n) => (n % 2 === 0 ? 'config.json' : 'model.safetensors'));
  expect(await selectFiles(names, noIndex)).toEqual(['config.json', 'model.safetensors']);
});

test('an index beside model.safetensors and its weight files are left over from an earlier save', async () => {
  const names = [
    'model.safetensors.index.json',
    'model-00001-of-00001.safetensors',
    'model.safetensors',
    'config.json',
  ];
  expect(await selectFiles(names, noIndex)).toEqual(['config.json', 'model.safetensors']);
});
