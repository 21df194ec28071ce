import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeSafetensors } from '@pairwise/safetensors';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openModelFolder } from './index.ts';

let base: string;
let root: string;

const weights = writeSafetensors([{ name: 'w', dtype: 'F32', shape: [3], data: Float32Array.of(1, 2, 3) }]);

async function folder(path: string, files: Record<string, string | Uint8Array>): Promise<string> {
  await mkdir(path, { recursive: true });
  for (const [name, content] of Object.entries(files)) await writeFile(join(path, name), content);
  return path;
}

beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), 'pairwise-hub-'));
  root = await folder(join(base, 'root'), {});
});
afterEach(() => rm(base, { recursive: true }));

test('a model consists of its settings and its safetensors, read by range or as a whole', async () => {
  const files = { 'config.json': '{}', 'model.safetensors': weights, 'pytorch_model.bin': 'x', 'README.md': 'x' };
  const model = await openModelFolder(await folder(join(root, 'm'), files), [root]);
  expect(model.files).toEqual([
    { path: 'config.json', sizeBytes: 2 },
    { path: 'model.safetensors', sizeBytes: weights.length },
  ]);
  expect(await model.read('model.safetensors', 8, 20)).toEqual(weights.slice(8, 20));
  const progress: object[] = [];
  const local = await model.download({ onProgress: (each) => progress.push(each) });
  expect(progress).toEqual([{ receivedBytes: weights.length + 2, totalBytes: weights.length + 2 }]);
  expect(Buffer.concat(await Array.fromAsync(local.stream('model.safetensors')))).toEqual(Buffer.from(weights));
  await expect(model.read('pytorch_model.bin', 0, 1)).rejects.toThrow('the model does not contain pytorch_model.bin');
});

test('the index decides which weight files belong to the model', async () => {
  const index = { weight_map: { a: 'model-2.safetensors', b: 'model-1.safetensors' } };
  const weightFiles = {
    'model-1.safetensors': weights,
    'model-2.safetensors': weights,
    'consolidated.safetensors': weights,
  };
  const path = await folder(join(root, 'm'), { 'model.safetensors.index.json': JSON.stringify(index), ...weightFiles });
  expect((await openModelFolder(path, [root])).files.map((file) => file.path)).toEqual([
    'model.safetensors.index.json',
    'model-1.safetensors',
    'model-2.safetensors',
  ]);
  await writeFile(join(path, 'model.safetensors.index.json'), '{"weight_map": {"a": "../secret.safetensors"}}');
  await expect(openModelFolder(path, [root])).rejects.toThrow('a plain name ending in .safetensors');
});

test('paths outside the roots are refused, also through links, whether they exist or not', async () => {
  const outside = await folder(join(base, 'outside'), { 'config.json': '{}', 'model.safetensors': weights });
  await symlink(outside, join(root, 'link'));
  const inside = await folder(join(root, 'm'), { 'config.json': '{}' });
  await symlink(join(outside, 'model.safetensors'), join(inside, 'model.safetensors'));
  const paths = [outside, join(base, 'nowhere'), join(root, '../outside'), join(base, 'root2'), join(root, 'link')];
  for (const path of [...paths, inside]) {
    await expect(openModelFolder(path, [root]), path).rejects.toMatchObject({ reason: 'PERMISSION_DENIED' });
  }
  await expect(openModelFolder(inside, [])).rejects.toThrow('PAIRWISE_MODEL_ROOTS');
  expect((await openModelFolder(inside, [root, outside])).files).toHaveLength(2);
});

test('links may point anywhere below the roots, and a root may be a link', async () => {
  const path = await folder(join(root, 'm'), { 'config.json': '{}' });
  const blob = join(await folder(join(root, 'blobs'), { abc: weights }), 'abc');
  await symlink(blob, join(path, 'model.safetensors'));
  await symlink(root, join(base, 'alias'));
  const model = await openModelFolder(join(base, 'alias', 'm'), [join(base, 'alias')]);
  expect(await model.read('model.safetensors', 0, weights.length)).toEqual(weights);
});

test.each([
  [
    'pickles only',
    { 'config.json': '{}', 'pytorch_model.bin': 'x' },
    'UNSUPPORTED_FORMAT',
    'pytorch_model.bin is a pickle',
  ],
  ['only a .ckpt file', { 'model.ckpt': 'x' }, 'UNSUPPORTED_FORMAT', 'model.ckpt is a pickle'],
  ['no weights', { 'config.json': '{}' }, 'INVALID_MODEL', 'neither model.safetensors nor'],
  [
    'a broken index',
    { 'model.safetensors.index.json': '{', 'a.safetensors': weights },
    'INVALID_MODEL',
    'is not valid JSON',
  ],
])('a folder with %s is refused', async (_, files, reason, problem) => {
  const opening = openModelFolder(await folder(join(root, 'm'), files), [root]);
  await expect(opening).rejects.toMatchObject({ reason, message: expect.stringContaining(problem) as string });
});

test('a file instead of a folder and a folder instead of a file are refused', async () => {
  const path = await folder(join(root, 'm'), { 'config.json': '{}', 'model.pt': 'x' });
  await expect(openModelFolder(join(path, 'model.pt'), [root])).rejects.toThrow('model.pt is a pickle');
  await writeFile(join(path, 'model.gguf'), 'x');
  await expect(openModelFolder(join(path, 'model.gguf'), [root])).rejects.toThrow('model.gguf is a GGUF file');
  await expect(openModelFolder(join(path, 'config.json'), [root])).rejects.toThrow('is not a folder');
  await expect(openModelFolder(join(path, 'gone'), [root])).rejects.toMatchObject({ reason: 'NOT_FOUND' });
  await mkdir(join(path, 'model.safetensors'));
  await expect(openModelFolder(path, [root])).rejects.toThrow('model.safetensors is not a regular file');
});

test('a file that changes while it is read is noticed', async () => {
  const path = await folder(join(root, 'm'), { 'model.safetensors': weights });
  const local = await (await openModelFolder(path, [root])).download();
  await writeFile(join(path, 'model.safetensors'), weights.subarray(1));
  await expect(Array.fromAsync(local.stream('model.safetensors'))).rejects.toThrow('changed while it was read');
});
