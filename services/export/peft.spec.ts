import { spawnSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { writeAdapterArtifact } from './adapter.ts';
import { baseModelNameOf } from './baseModelName.ts';
import { writeMergedArtifact } from './merged.ts';
import { enginePolicy } from './policy.ts';
import { differencesOf } from './pairFigures.ts';
import { archAdapter, freshFolder, openStories, shared, trainedArchs } from './testing.ts';
import type { VerificationSequence } from './verify.ts';
import { baseWeights, mergedWeights, type Adapter } from './weights.ts';

/** A Python with torch, transformers and peft. */
const python = process.env['PAIRWISE_PYTHON'];

type Trained = Awaited<ReturnType<typeof archAdapter>>;

/**
 * Writes an adapter folder and a merged folder, and requires that PEFT and transformers compute our logps with them. PEFT
 * finds the base model by its folder's name.
 */
async function requireSameLogps(
  { base, baseModel, folder, adapter }: Pick<Trained, 'base' | 'baseModel' | 'folder'> & { adapter: Adapter },
  sequences: readonly VerificationSequence[],
  weightFileBytes?: number,
) {
  const { config } = baseModel;
  const [adapterFolder, mergedFolder] = [freshFolder(), freshFolder()];
  const name = baseModelNameOf({ repoId: '', commit: '', source: { source: { $case: 'uri', value: folder } } });
  await writeAdapterArtifact(adapterFolder, { baseModel, adapter, base: name });
  const weights = baseWeights(baseModel, (...range) => base.read(...range));
  const merged = { base, config, weights: mergedWeights(weights, config, adapter) };
  await Array.fromAsync(
    writeMergedArtifact(mergedFolder, merged, { type: 'F32', ...(weightFileBytes && { weightFileBytes }) }),
  );
  const ids = sequences.map(({ prompt, response }) => ({ prompt: [...prompt], response: [...response] }));
  const script = spawnSync(python!, [join(import.meta.dirname, 'peft_logps.py')], {
    input: JSON.stringify({ adapter: adapterFolder, merged: mergedFolder, sequences: ids }),
    cwd: dirname(folder),
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
  });
  expect(script.status, script.stderr).toBe(0);
  const theirs = JSON.parse(script.stdout) as Record<'adapter' | 'merged', number[][]>;
  const ours = await enginePolicy({ baseModel, folder, adapter, threads: 1 })(sequences);
  for (const each of ['adapter', 'merged'] as const) {
    const { maxAbsLogpDiff, tokenCount } = differencesOf(ours, theirs[each]);
    expect(tokenCount).toBeGreaterThan(100);
    expect(maxAbsLogpDiff, each).toBeLessThan(1e-4);
  }
}

describe.skipIf(!shared || python === undefined)(
  'PEFT and transformers compute our logps (skipped without ../shared and PAIRWISE_PYTHON)',
  { timeout: 300_000 },
  () => {
    test('stories260K, merged into several weight files', async () => {
      const { base, baseModel, source, adapter } = await openStories();
      interface Pair {
        prompt_ids: number[];
        chosen_ids: number[];
      }
      const goldens = JSON.parse(await readFile(join(shared!, 'goldens/ids_first64.json'), 'utf8')) as {
        pairs: Pair[];
      };
      const sequences = goldens.pairs.map(({ prompt_ids, chosen_ids }) => ({
        prompt: Int32Array.from(prompt_ids),
        response: Int32Array.from(chosen_ids),
      }));
      await requireSameLogps({ base, baseModel, folder: source, adapter }, sequences, 200_000);
    });

    test.each(trainedArchs)('%s', async (name) => {
      const trained = await archAdapter(name);
      await requireSameLogps(trained, trained.sequences);
    });
  },
);
