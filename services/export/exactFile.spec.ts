import { join } from 'node:path';
import { readBaseModel } from '@pairwise/model';
import { beforeAll, describe, expect, test } from 'vitest';
import { verifyExact } from './exactFile.ts';
import { writeGgufArtifact, type GgufModel } from './gguf.ts';
import { writeGgufAdapterArtifact } from './ggufAdapter.ts';
import { writeMergedArtifact } from './merged.ts';
import { differencesOf, type TokenLogps } from './pairFigures.ts';
import { enginePolicy } from './policy.ts';
import { servingOf } from './serving.ts';
import { archAdapter, freshFolder, modelFolder, openStories, shared } from './testing.ts';
import { fileLogps, openFor, untilAborted, type VerificationSequence } from './verify.ts';
import { baseWeights, type Adapter, type ExportWeights } from './weights.ts';

const { signal } = new AbortController();

/** The weights with those of one tensor multiplied by a factor. */
function scaled(weights: ExportWeights, tensor: string, factor: number): ExportWeights {
  const rows: ExportWeights['rows'] = async (name, first, count) => {
    const found = await weights.rows(name, first, count);
    return name === tensor ? found.map((value) => value * factor) : found;
  };
  return { ...weights, rows };
}

// Real models are stored in bfloat16, and rounding moves their logps far more than those of tiny ones. Sharper logits do that too.
describe.skipIf(!shared)('a model whose F16 file is far from it (skipped without ../shared)', () => {
  let model: GgufModel;
  let logps: TokenLogps;
  let sequences: VerificationSequence[];
  beforeAll(async () => {
    const { base, baseModel, weights } = await openStories();
    ({ sequences } = await archAdapter('llama3'));
    const folder = freshFolder();
    const sharp = { base, config: baseModel.config, weights: scaled(weights, 'model.norm.weight', 16) };
    await Array.fromAsync(writeMergedArtifact(folder, sharp, { type: 'BF16' }));
    const stored = await modelFolder(folder);
    const reread = await readBaseModel(stored);
    const read = baseWeights(reread, (...range) => stored.read(...range));
    model = { name: 'sharp', config: reread.config, weights: read, ...(await servingOf(stored, undefined)) };
    logps = await enginePolicy({ baseModel: reread, folder, adapter: undefined, threads: 1 })(sequences);
  });

  const verify = (type: 'F16' | 'Q8_0', exact: GgufModel) =>
    verifyExact(join(freshFolder(), 'exact'), { type, model: exact, adapterPath: undefined, logps, sequences }, signal);

  test('what it was made from is the policy', async () => {
    const target = freshFolder();
    const { files } = await writeGgufArtifact(target, model, { baseName: 'x', type: 'F16' });
    const judge = await openFor({ path: join(target, files[0]!) }, sequences);
    const found = differencesOf(await untilAborted(judge, undefined, () => fileLogps(judge, sequences)), logps);
    expect(found.maxAbsLogpDiff).toBeGreaterThan(0.05);
    await verify('F16', model);
    await verify('Q8_0', model);
  });

  test('a fault smaller than rounding is found in what it was made from', async () => {
    const wrong = { ...model, weights: scaled(model.weights, 'model.layers.2.mlp.down_proj.weight', 1.002) };
    await expect(verify('F16', wrong)).rejects.toThrow(
      'the F16 file was rounded from a file that differs from the policy: the largest difference',
    );
    await expect(verify('Q8_0', wrong)).rejects.toThrow('was quantised from a file that differs from the policy');
  });
});

test.skipIf(!shared)(
  'an adapter is verified over an F32 file of the base model (skipped without ../shared)',
  async () => {
    const { folder, base, baseModel, adapter, sequences } = await archAdapter('llama3-tied-bf16');
    const { config } = baseModel;
    const weights = baseWeights(baseModel, (...range) => base.read(...range));
    const model = { name: 'base', config, weights, ...(await servingOf(base, undefined)) };
    const logps = await enginePolicy({ baseModel, folder, adapter, threads: 1 })(sequences);
    const verify = async (trained: Adapter) => {
      const target = freshFolder();
      const [file] = await writeGgufAdapterArtifact(target, { config, adapter: trained }, { baseName: 'x' });
      const files = { type: 'F16', model, adapterPath: join(target, file!) } as const;
      await verifyExact(join(target, 'exact'), { ...files, logps, sequences }, signal);
    };
    await verify(adapter);
    const other = { ...adapter, parameters: adapter.parameters.map((layer) => layer.map((value) => value * 1.01)) };
    await expect(verify(other)).rejects.toMatchObject({ reason: 'VERIFICATION_FAILED' });
  },
);
