import { expect, test } from 'vitest';
import { selectFiles } from './files.ts';

test('a file that is listed many times is selected once', async () => {
  const names = Array.from({ length: 100_000 }, (_, n) => (n % 2 === 0 ? 'config.json' : 'model.safetensors'));
  const noIndex = () => Promise.reject(new Error('there is no index'));
  expect(await selectFiles(names, noIndex)).toEqual(['config.json', 'model.safetensors']);
});
