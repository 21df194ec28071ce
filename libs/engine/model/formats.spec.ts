import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { sharedFolder } from '@pairwise/testing';
import {
  bfloat16ToFloat32,
  float16ToFloat32,
  float32ToBfloat16,
  float32ToFloat16,
  readSafetensors,
  writeSafetensors,
  type TensorData,
} from '@pairwise/safetensors';
import { readBaseModel } from './index.ts';
import { expectGoldenLogps, folderAt, goldenLogps } from './testing.ts';

const shared = sharedFolder();
let folder: string;

beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'pairwise-formats-'))));
afterEach(() => rmSync(folder, { recursive: true }));

/** The tensors of a model of the reference material. Copies its other files into `folder`. */
function tensorsOf(name: string): { name: string; shape: number[]; values: Float32Array }[] {
  const source = join(shared!, 'archs', name);
  cpSync(source, folder, { recursive: true, filter: (path) => !path.endsWith('.safetensors') });
  return [...readSafetensors(readFileSync(join(source, 'model.safetensors')))].map(([tensor, { shape, data }]) => ({
    name: tensor,
    shape,
    values: data instanceof Float32Array ? data : bfloat16ToFloat32(data as Uint16Array),
  }));
}

function write(file: string, tensors: readonly TensorData[]): void {
  writeFileSync(join(folder, file), writeSafetensors(tensors));
}

describe.skipIf(shared === undefined)('one model in every form', () => {
  test('float16: bfloat16 weights, converted without loss, give the golden logps', async () => {
    const tensors = tensorsOf('llama3-tied-bf16');
    // 8 bits of mantissa fit into float16's 11; below 2^-14 float16 has absolute steps of 6e-8, which do not show in any logp.
    write(
      'model.safetensors',
      tensors.map(({ name, shape, values }) => ({ name, shape, dtype: 'F16', data: float32ToFloat16(values) })),
    );
    await expectGoldenLogps(folder);
  });

  test.each([
    ['F16', float32ToFloat16, float16ToFloat32],
    ['BF16', float32ToBfloat16, bfloat16ToFloat32],
  ] as const)('%s weights compute what their float32 values do, to the last bit', async (dtype, pack, unpack) => {
    const tensors = tensorsOf('llama3').map((tensor) => ({ ...tensor, bits: pack(tensor.values) }));
    write(
      'model.safetensors',
      tensors.map(({ name, shape, bits }) => ({ name, shape, dtype, data: bits })),
    );
    const narrow = (await goldenLogps(folder)).got;
    write(
      'model.safetensors',
      tensors.map(({ name, shape, bits }) => ({ name, shape, dtype: 'F32', data: unpack(bits) })),
    );
    expect((await goldenLogps(folder)).got).toEqual(narrow);
  });

  test('several weight files, with tensors in any order, and a file that the index does not name', async () => {
    const tensors = tensorsOf('llama3').reverse();
    const files = [0, 1, 2].map((part) => `model-0000${part + 1}-of-00003.safetensors`);
    const map: Record<string, string> = {};
    files.forEach((file, part) => {
      const own = tensors.filter((_, index) => index % 3 === part);
      write(
        file,
        own.map(({ name, shape, values }) => ({ name, shape, dtype: 'F32', data: values })),
      );
      for (const { name } of own) map[name] = file;
    });
    write('other.safetensors', [{ name: 'other', dtype: 'F32', shape: [1], data: Float32Array.of(1) }]);
    writeFileSync(join(folder, 'model.safetensors.index.json'), JSON.stringify({ metadata: {}, weight_map: map }));
    await expectGoldenLogps(folder);
  });

  test('tied embeddings: a stored copy of the head changes nothing', async () => {
    const tensors = tensorsOf('llama3-tied-bf16');
    const stored = ({ name, shape, values }: (typeof tensors)[number]): TensorData => ({
      name,
      shape,
      dtype: 'BF16',
      data: float32ToBfloat16(values),
    });
    const embedding = tensors.find(({ name }) => name === 'model.embed_tokens.weight')!;
    write('model.safetensors', [...tensors.map(stored), stored({ ...embedding, name: 'lm_head.weight' })]);
    await expectGoldenLogps(folder);
    expect((await readBaseModel(await folderAt(folder))).config.tieWordEmbeddings).toBe(true);
  });

  test.each([
    ['language_model.model.', ''],
    ['model.language_model.', 'model.'],
  ])('the text part of a model for images and text, with tensors named %s...', async (prefix, other) => {
    const tensors = tensorsOf('gemma3-text').map(({ name, shape, values }) => ({
      name: name.replace(/^model\./, prefix),
      shape,
      dtype: 'F32' as const,
      data: values,
    }));
    const image = { shape: [1], dtype: 'F32' as const, data: Float32Array.of(1) };
    const others = ['vision_tower.x', 'multi_modal_projector.y'].map((name) => ({ ...image, name: `${other}${name}` }));
    write('model.safetensors', [...tensors, ...others]);
    const text = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as unknown;
    const config = { architectures: ['Gemma3ForConditionalGeneration'], text_config: text, vision_config: {} };
    writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
    await expectGoldenLogps(folder);
    const { weights, isTextPart } = await readBaseModel(await folderAt(folder));
    expect(isTextPart).toBe(true);
    expect([...weights.keys()].filter((name) => !name.startsWith('model.'))).toEqual([]);
  });
});
