import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Encoding } from '@pairwise/api';
import { digestOf } from '@pairwise/fingerprint';
import { packPairs } from '@pairwise/preference';
import { openFolder } from '@pairwise/store';
import { expect, test } from 'vitest';
import { writeGgufArtifact } from './gguf.ts';
import { importanceOf } from './importance.ts';
import { freshFolder, openStories, shared } from './testing.ts';
import { servingOf } from './serving.ts';
import { textExpectationOf } from './textExpectation.ts';
import { verifyGguf } from './verify.ts';

interface Pair {
  prompt_ids: number[];
  chosen_ids: number[];
  ref_chosen_token_logps: number[];
}

test.skipIf(!shared)('weights that matter for chosen responses lose less (skipped without ../shared)', async () => {
  const { base, baseModel, source, weights } = await openStories();
  const goldens = JSON.parse(await readFile(join(shared!, 'goldens/ids_first64.json'), 'utf8')) as { pairs: Pair[] };
  const blobs = await openFolder(freshFolder());
  const digest = digestOf(Buffer.from('a pair'));
  const measured = goldens.pairs.slice(0, 32).map(({ prompt_ids, chosen_ids }) => ({
    prompt: Int32Array.from(prompt_ids),
    chosen: Int32Array.from(chosen_ids),
    rejected: Int32Array.of(1),
    pairDigest: digest,
    chosenDigest: digest,
    rejectedDigest: digest,
  }));
  const shard = await blobs.put(packPairs(measured));
  const encoding = Encoding.create({ shardDigests: [shard.digest], chatTemplateDate: '2024-07-26' });
  const absolute = structuredClone(baseModel);
  for (const weight of absolute.weights.values()) weight.file = join(source, weight.file);
  const { signal } = new AbortController();
  const importance = await importanceOf(
    { blobs, threads: 1 },
    { baseModel: absolute, adapter: undefined, encoding },
    signal,
  );
  expect(importance.size).toBe(7 * baseModel.config.layerCount);
  expect(importance.get('blk.4.ffn_down.weight')).toHaveLength(172);

  // Other pairs than those on which the importance was measured.
  const others = goldens.pairs.slice(32);
  const model = { name: 'x', config: baseModel.config, weights, ...(await servingOf(base, undefined)) };
  const meanDifference = async (options: Partial<Parameters<typeof writeGgufArtifact>[2]>) => {
    const folder = freshFolder();
    await writeGgufArtifact(folder, model, { baseName: 'x', type: 'IQ4_NL', ...options });
    const { verification } = await verifyGguf({
      path: join(folder, 'x-IQ4_NL.gguf'),
      type: 'IQ4_NL',
      text: await textExpectationOf(base, encoding, []),
      sequences: others.map(({ prompt_ids, chosen_ids }) => ({
        prompt: Int32Array.from(prompt_ids),
        response: Int32Array.from(chosen_ids),
      })),
      policyLogps: () => Promise.resolve(others.map((pair) => pair.ref_chosen_token_logps)),
    });
    return verification.meanAbsLogpDiff;
  };
  expect(await meanDifference({ importance })).toBeLessThan(0.97 * (await meanDifference({})));
});
