import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Encoding } from '@pairwise/api';
import { readBaseModel } from '@pairwise/model';
import { expect, test } from 'vitest';
import { writeGgufArtifact } from './gguf.ts';
import { writeMergedArtifact } from './merged.ts';
import { enginePolicy } from './policy.ts';
import { servingOf } from './serving.ts';
import { freshFolder, modelFolder, shared } from './testing.ts';
import { textExpectationOf } from './textExpectation.ts';
import { verifyGguf } from './verify.ts';
import { baseWeights } from './weights.ts';

test.skipIf(!shared)('a head that differs from the embedding is exported, although the config ties them', async () => {
  const source = join(shared!, 'cases/tied-but-other-lm-head/model');
  const base = await modelFolder(source);
  const baseModel = await readBaseModel(base);
  const { config } = baseModel;
  const weights = baseWeights(baseModel, (...range) => base.read(...range));
  const target = freshFolder();

  await Array.fromAsync(writeMergedArtifact(target, { base, config, weights }, { type: undefined }));
  const merged = await readBaseModel(await modelFolder(target));
  expect(merged.config).toEqual(config);
  expect(merged.weights.get('lm_head.weight')!.shape).toEqual([512, 64]);
  // Readers such as transformers 4 and vLLM go by the config.
  expect(JSON.parse(await readFile(join(target, 'config.json'), 'utf8'))).toEqual({
    ...(JSON.parse(await readFile(join(source, 'config.json'), 'utf8')) as object),
    tie_word_embeddings: false,
  });

  const model = { name: 'own head', config, weights, ...(await servingOf(base, undefined)) };
  await writeGgufArtifact(target, model, { baseName: 'model', type: 'F32' });
  const response = Int32Array.of(403, 407, 261, 378, 31, 346, 280, 286, 264, 270, 335, 433, 100, 200, 300);
  await verifyGguf({
    path: join(target, 'model-F32.gguf'),
    type: 'F32',
    text: await textExpectationOf(base, Encoding.create({ chatTemplateDate: '2024-07-26' }), []),
    sequences: [{ prompt: Int32Array.of(1), response }],
    policyLogps: enginePolicy({ baseModel, folder: source, adapter: undefined, threads: 1 }),
  });
});
