import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseConfig, readBaseModel } from '@pairwise/model';
import { readSafetensors } from '@pairwise/safetensors';
import { describe, expect, test } from 'vitest';
import { writeAdapterArtifact } from './adapter.ts';
import { writeMergedArtifact } from './merged.ts';
import { enginePolicy } from './policy.ts';
import { archAdapter, freshFolder, modelFolder, shared, trainedArchs } from './testing.ts';
import { baseWeights, mergedWeights } from './weights.ts';

describe.skipIf(!shared)('an adapter of each architecture (skipped without ../shared)', () => {
  test.each(trainedArchs)('%s', async (name) => {
    const { folder, base, baseModel, adapter, sequences } = await archAdapter(name);
    const { config } = baseModel;
    // As PEFT wrote it.
    const target = freshFolder();
    await writeAdapterArtifact(target, { baseModel, adapter, base: { name: 'x', revision: undefined } });
    const [written, original] = await Promise.all(
      [target, join(folder, 'adapter_init')].map((path) => readFile(join(path, 'adapter_model.safetensors'))),
    );
    expect(readSafetensors(written!)).toEqual(readSafetensors(original!));
    // Merged into the weights it computes the same.
    const merged = freshFolder();
    const weights = mergedWeights(
      baseWeights(baseModel, (...range) => base.read(...range)),
      config,
      adapter,
    );
    await Array.fromAsync(writeMergedArtifact(merged, { base, config, weights }, { type: 'F32' }));
    const numbers = async (path: string) =>
      (await readFile(join(path, 'config.json'), 'utf8')).match(/-?\d[\d.e+-]*(?=,?$)/gm);
    expect(await numbers(merged)).toEqual(await numbers(folder));
    const reread = await readBaseModel(await modelFolder(merged));
    expect(reread.config).toEqual(config);
    const applied = await enginePolicy({ baseModel, folder, threads: 1, adapter })(sequences);
    const fused = await enginePolicy({ baseModel: reread, folder: merged, threads: 1, adapter: undefined })(sequences);
    const differences = applied.flatMap((logps, i) => Array.from(logps, (logp, j) => Math.abs(logp - fused[i]![j]!)));
    expect(differences.length).toBeGreaterThan(100);
    // Merging rounds the weights to float32 once more.
    expect(Math.max(...differences)).toBeLessThan(1e-4);
  });

  test('the text part of a model for images and text becomes a model for text', async () => {
    const { base, baseModel, adapter } = await archAdapter('gemma3-text');
    const text = JSON.parse(Buffer.from(await base.read('config.json', 0, Infinity)).toString()) as object;
    const outer = { architectures: ['Gemma3ForConditionalGeneration'], text_config: text, vision_config: {} };
    const bytes = Buffer.from(JSON.stringify(outer));
    const multimodal = {
      files: base.files.map((file) => (file.path === 'config.json' ? { ...file, sizeBytes: bytes.length } : file)),
      read: (...[path, start, end]: Parameters<typeof base.read>) =>
        path === 'config.json' ? Promise.resolve(bytes.subarray(start, end)) : base.read(path, start, end),
    };
    const target = freshFolder();
    const weights = baseWeights(baseModel, (...range) => base.read(...range));
    const { config } = baseModel;
    await Array.fromAsync(writeMergedArtifact(target, { base: multimodal, config, weights }, { type: undefined }));
    const written: unknown = JSON.parse(await readFile(join(target, 'config.json'), 'utf8'));
    expect(written).toMatchObject({ architectures: ['Gemma3ForCausalLM'], model_type: 'gemma3_text' });
    expect(parseConfig(written)).toEqual(config);
    const peft = freshFolder();
    const textPart = { ...baseModel, isTextPart: true };
    await writeAdapterArtifact(peft, { baseModel: textPart, adapter, base: { name: 'x', revision: undefined } });
    const names = [...readSafetensors(await readFile(join(peft, 'adapter_model.safetensors'))).keys()];
    expect(names).toContain('base_model.model.model.language_model.layers.0.self_attn.q_proj.lora_A.weight');
  });
});
