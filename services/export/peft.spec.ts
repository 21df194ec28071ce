import { spawnSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { writeAdapterArtifact } from './adapter.ts';
import { baseModelNameOf } from './baseModelName.ts';
import { writeMergedArtifact } from './merged.ts';
import { enginePolicy } from './policy.ts';
import { freshFolder, openStories, shared } from './testing.ts';
import { mergedWeights } from './weights.ts';

/** A Python with torch, transformers and peft. */
const python = process.env['PAIRWISE_PYTHON'];

interface Pair {
  prompt_ids: number[];
  chosen_ids: number[];
}

test.skipIf(!shared || python === undefined)(
  'PEFT and transformers compute our logps (skipped without ../shared and PAIRWISE_PYTHON)',
  async () => {
    const { base, baseModel, source, weights, adapter } = await openStories();
    const { config } = baseModel;
    const [adapterFolder, mergedFolder] = [freshFolder(), freshFolder()];
    const name = baseModelNameOf({ repoId: '', commit: '', source: { source: { $case: 'uri', value: source } } });
    await writeAdapterArtifact(adapterFolder, { baseModel, adapter, base: name });
    const merged = { base, config, weights: mergedWeights(weights, config, adapter) };
    await Array.fromAsync(writeMergedArtifact(mergedFolder, merged, { type: 'F32', weightFileBytes: 200_000 }));

    const goldens = JSON.parse(await readFile(join(shared!, 'goldens/ids_first64.json'), 'utf8')) as { pairs: Pair[] };
    const sequences = goldens.pairs.map(({ prompt_ids, chosen_ids }) => ({ prompt: prompt_ids, response: chosen_ids }));
    const script = spawnSync(python!, [join(import.meta.dirname, 'peft_logps.py')], {
      input: JSON.stringify({ adapter: adapterFolder, merged: mergedFolder, sequences }),
      // PEFT finds the base model by its folder's name.
      cwd: dirname(source),
      encoding: 'utf8',
      maxBuffer: 2 ** 26,
    });
    expect(script.status, script.stderr).toBe(0);
    const theirs = JSON.parse(script.stdout) as Record<'adapter' | 'merged', number[][]>;
    const ours = await enginePolicy({ baseModel, folder: source, adapter, threads: 1 })(
      sequences.map(({ prompt, response }) => ({
        prompt: Int32Array.from(prompt),
        response: Int32Array.from(response),
      })),
    );
    for (const each of ['adapter', 'merged'] as const) {
      const differences = ours.flatMap((logps, index) =>
        Array.from(logps, (logp, token) => Math.abs(logp - theirs[each][index]![token]!)),
      );
      expect(differences.length).toBeGreaterThan(1000);
      expect(Math.max(...differences), each).toBeLessThan(1e-4);
    }
  },
  300_000,
);
