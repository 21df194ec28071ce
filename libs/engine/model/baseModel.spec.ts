import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { writeTinyModel } from '@pairwise/testing';
import { readBaseModel } from './index.ts';
import { readSafetensors, writeSafetensors, type TensorData } from '@pairwise/safetensors';
import { folderAt } from './testing.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'pairwise-base-model-'));
  writeTinyModel(folder);
});
afterEach(() => rmSync(folder, { recursive: true }));

const read = async () => readBaseModel(await folderAt(folder));
const path = (name: string) => join(folder, name);

function storedTensors(): TensorData[] {
  const tensors = readSafetensors(readFileSync(path('model.safetensors')));
  return [...tensors].map(([name, { shape, data }]) => ({ name, dtype: 'F32', shape, data }));
}

test('one weight file or several give the same tensors, with their places', async () => {
  const whole = await read();
  const tensors = storedTensors();
  const parts = [tensors.slice(0, 5), tensors.slice(5)];
  const files = parts.map((_, part) => `model-${part}.safetensors`);
  parts.forEach((part, i) => writeFileSync(path(files[i]!), writeSafetensors(part)));
  const map = parts.flatMap((part, i) => part.map(({ name }) => [name, files[i]!] as const));
  writeFileSync(path('model.safetensors.index.json'), JSON.stringify({ weight_map: Object.fromEntries(map) }));
  // While model.safetensors is there, the rest counts as left over.
  expect((await read()).weights).toEqual(whole.weights);
  const single = readFileSync(path('model.safetensors'));
  rmSync(path('model.safetensors'));
  const sharded = await read();
  expect(sharded.config).toEqual(whole.config);
  for (const { name, data } of tensors) {
    for (const { weights } of [whole, sharded]) {
      const { file, offset, length } = weights.get(name)!;
      const bytes = (weights === whole.weights ? single : readFileSync(path(file))).subarray(offset, offset + length);
      expect(bytes.equals(new Uint8Array(data.buffer, data.byteOffset, data.byteLength)), name).toBe(true);
    }
  }
});

test.each<[string, (name: typeof path) => void, string, string]>([
  ['no config', (at) => rmSync(at('config.json')), 'INVALID_MODEL', 'the folder does not contain a config.json'],
  [
    'a config that is not valid JSON',
    (at) => writeFileSync(at('config.json'), '{'),
    'INVALID_MODEL',
    'config.json is not valid JSON',
  ],
  [
    'a config that is not valid UTF-8',
    (at) => writeFileSync(at('config.json'), Uint8Array.of(0x22, 0xff, 0x22)),
    'INVALID_MODEL',
    'config.json is not valid UTF-8',
  ],
  ['an empty config', (at) => writeFileSync(at('config.json'), ''), 'INVALID_MODEL', 'config.json is not valid JSON'],
  [
    'a config larger than memory',
    (at) => truncateSync(at('config.json'), 2 ** 33),
    'INVALID_MODEL',
    'config.json has 8589934592 bytes',
  ],
  ['no weights', (at) => rmSync(at('model.safetensors')), 'INVALID_MODEL', 'neither model.safetensors'],
  [
    'more tensors than any model has',
    (at) => {
      const none = (_: unknown, n: number) => ({
        name: `${n}`,
        dtype: 'F32' as const,
        shape: [0],
        data: new Uint8Array(),
      });
      writeFileSync(at('model.safetensors'), writeSafetensors(Array.from({ length: 100_001 }, none)));
    },
    'INVALID_MODEL',
    'more than 100000 tensors',
  ],
  ['truncated weights', (at) => truncateSync(at('model.safetensors'), 5000), 'INVALID_FILE', 'is truncated'],
  ['empty weights', (at) => truncateSync(at('model.safetensors'), 0), 'INVALID_FILE', 'has 0 bytes'],
  ['trailing bytes', (at) => truncateSync(at('model.safetensors'), 2 ** 20), 'INVALID_FILE', 'belong to no tensor'],
  ['a tensor missing', (at) => writeFileSync(at('model.safetensors'), writeSafetensors([])), 'MISSING_TENSOR', 'embed'],
])('%s is refused', async (_, damage, reason, text) => {
  damage(path);
  await expect(read()).rejects.toMatchObject({ reason, message: expect.stringContaining(text) as string });
});
