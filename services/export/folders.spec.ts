import { readdir, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { loraLayout, loraName, parameterCount, readBaseModel } from '@pairwise/model';
import { bfloat16ToFloat32, float32ToBfloat16, readSafetensors } from '@pairwise/safetensors';
import { adapterTensors } from '@pairwise/training';
import { beforeAll, describe, expect, test } from 'vitest';
import { writeAdapterArtifact } from './adapter.ts';
import { writeMergedArtifact } from './merged.ts';
import { freshFolder, modelFolder, openStories, shared } from './testing.ts';
import type { Stories } from './testing.ts';
import { baseWeights, mergedWeights, rowChunks } from './weights.ts';
import type { ExportWeights } from './weights.ts';

describe.skipIf(!shared)('folders of stories260K with a trained adapter (skipped without ../shared)', () => {
  let stories: Stories;
  beforeAll(async () => {
    stories = await openStories();
  });

  test('a merged adapter is W + scale B A, however many rows are read at a time', async () => {
    const { baseModel, weights, adapter } = stories;
    const merged = mergedWeights(weights, baseModel.config, adapter);
    const name = 'model.layers.3.mlp.down_proj.weight';
    const original = await weights.rows(name, 0, 64);
    const tensors = adapterTensors(loraLayout(baseModel.config, adapter.lora), adapter.parameters);
    const peft = (factor: 'A' | 'B') =>
      tensors.find((tensor) => tensor.name === loraName(3, 'down_proj', factor))!.data as Float32Array;
    const [a, b] = [peft('A'), peft('B')];
    const whole = await merged.rows(name, 0, 64);
    for (const [row, column] of [
      [0, 0],
      [17, 171],
      [63, 5],
    ] as const) {
      let sum = original[row * 172 + column]!;
      for (let factor = 0; factor < 8; factor++) sum += 2 * b[row * 8 + factor]! * a[factor * 172 + column]!;
      expect(whole[row * 172 + column]).toBe(Math.fround(sum));
    }
    expect(await merged.rows(name, 10, 7)).toEqual(whole.slice(10 * 172, 17 * 172));
    expect(await merged.rows('model.norm.weight', 0, 64)).toEqual(await weights.rows('model.norm.weight', 0, 64));
  });

  test('a merged folder has every tensor in the requested dtype, and the other files of the model', async () => {
    const { source, base, baseModel, weights, adapter } = stories;
    const target = freshFolder();
    const merged = mergedWeights(weights, baseModel.config, adapter);
    const { config } = baseModel;
    const model = { base, config, weights: merged };
    const files = await Array.fromAsync(writeMergedArtifact(target, model, { type: 'BF16' }));
    expect((await readdir(target)).sort()).toEqual(files.toSorted());
    expect(files.toSorted()).toEqual(base.files.map(({ path }) => path).toSorted());
    expect(JSON.parse(await readFile(join(target, 'config.json'), 'utf8'))).toEqual({
      ...(JSON.parse(await readFile(join(source, 'config.json'), 'utf8')) as object),
      torch_dtype: 'bfloat16',
    });
    const written = await modelFolder(target);
    const reread = await readBaseModel(written);
    for (const [name, { dtype, shape }] of reread.weights) {
      expect(dtype).toBe('BF16');
      const exact = await merged.rows(name, 0, shape[0]!);
      const stored = await baseWeights(reread, (...range) => written.read(...range)).rows(name, 0, shape[0]!);
      expect(stored, name).toEqual(bfloat16ToFloat32(float32ToBfloat16(exact)));
    }
  });

  test('merging no adapter and keeping the dtype gives the base model', async () => {
    const { source, base, baseModel, weights } = stories;
    const target = freshFolder();
    const model = { base, config: baseModel.config, weights };
    await Array.fromAsync(writeMergedArtifact(target, model, { type: undefined }));
    const [written, original] = [
      readSafetensors(await readFile(join(target, 'model.safetensors'))),
      readSafetensors(await readFile(join(source, 'model.safetensors'))),
    ];
    expect(new Map([...written].sort())).toEqual(new Map([...original].sort()));
    expect(await readFile(join(target, 'config.json'), 'utf8')).toBe(
      await readFile(join(source, 'config.json'), 'utf8'),
    );
  });

  test('large models are several weight files with an index, none of which needs to remain', async () => {
    const { base, baseModel, weights } = stories;
    const [target, moved] = [freshFolder(), freshFolder()];
    const model = { base, config: baseModel.config, weights };
    // The embedding, 512 x 64 weights in float32, is larger.
    const weightFileBytes = 100_000;
    for await (const name of writeMergedArtifact(target, model, { type: 'F32', weightFileBytes })) {
      if (name.endsWith('.safetensors')) expect(await readdir(target)).toEqual([name]);
      await rename(join(target, name), join(moved, name));
    }
    const written = await modelFolder(moved);
    const parts = written.files.filter(({ path }) => path.endsWith('.safetensors'));
    expect(parts.length).toBeGreaterThan(10);
    const names = parts.map((_, n) => `model-${String(n + 1).padStart(5, '0')}-of-000${parts.length}.safetensors`);
    expect(parts.map(({ path }) => path).sort()).toEqual(names);
    const [first, ...others] = parts.toSorted((a, b) => (a.path < b.path ? -1 : 1));
    expect(first!.sizeBytes).toBeGreaterThan(512 * 64 * 4);
    for (const { sizeBytes } of others) expect(sizeBytes).toBeLessThan(weightFileBytes + 1500);
    const { metadata } = JSON.parse(await readFile(join(moved, 'model.safetensors.index.json'), 'utf8')) as {
      metadata: object;
    };
    expect(metadata).toEqual({ total_size: 4 * parameterCount(baseModel.config) });
    const reread = await readBaseModel(written);
    const own = baseWeights(reread, (...range) => written.read(...range));
    for (const [name, { shape }] of reread.weights)
      expect(await own.rows(name, 0, shape[0]!), name).toEqual(await weights.rows(name, 0, shape[0]!));
  });

  test('an adapter folder equals the one that PEFT wrote, with bit-identical weights', async () => {
    const { baseModel, adapter } = stories;
    const target = freshFolder();
    const golden = join(shared!, 'goldens/adapter_a_final');
    const theirs = JSON.parse(await readFile(join(golden, 'adapter_config.json'), 'utf8')) as Record<string, unknown>;
    const files = await writeAdapterArtifact(target, {
      baseModel,
      adapter,
      base: { name: 'stories260K', revision: undefined },
    });
    expect(files).toEqual(['adapter_config.json', 'adapter_model.safetensors']);
    const ours = JSON.parse(await readFile(join(target, 'adapter_config.json'), 'utf8')) as Record<string, unknown>;
    for (const [key, value] of Object.entries(ours)) expect(value, key).toEqual(theirs[key]);
    const [written, original] = [await readFile(join(target, files[1]!)), await readFile(join(golden, files[1]!))];
    expect(written.equals(original)).toBe(true);
  });
});

describe('reading in chunks of rows', () => {
  test('chunks are multiples of a group and cover the tensor exactly once', async () => {
    const seen: [number, number][] = [];
    const rows: ExportWeights['rows'] = (_, first, count) => {
      seen.push([first, count]);
      return Promise.resolve(new Float32Array(count));
    };
    for await (const chunk of rowChunks({ rows }, { name: 'w', shape: [1000, 2 ** 15] }, 20)) {
      expect(chunk.count % 20).toBe(0);
    }
    expect(seen[0]).toEqual([0, 120]);
    expect(seen.at(-1)).toEqual([960, 40]);
    expect(seen.reduce((sum, [, rows]) => sum + rows, 0)).toBe(1000);
  });
});
