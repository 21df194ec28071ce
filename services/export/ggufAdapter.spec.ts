import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { headerOf, openJudge } from '@pairwise/llamacpp';
import { expect, test } from 'vitest';
import { writeGgufArtifact } from './gguf.ts';
import { writeGgufAdapterArtifact } from './ggufAdapter.ts';
import { enginePolicy } from './policy.ts';
import { servingOf } from './serving.ts';
import { freshFolder, openStories, shared } from './testing.ts';

test.skipIf(!shared).each([false, true])(
  'llama.cpp with the base model and the adapter is the policy, rank-stabilised: %s (skipped without ../shared)',
  async (useRslora) => {
    const { base, baseModel, source, weights, adapter: trained } = await openStories();
    const adapter = { ...trained, lora: { ...trained.lora, useRslora } };
    const { config } = baseModel;
    const folder = freshFolder();
    const model = { name: 'base', config, weights, ...(await servingOf(base, undefined)) };
    await writeGgufArtifact(folder, model, { baseName: 'base', type: 'F32' });
    const files = await writeGgufAdapterArtifact(folder, { config, adapter }, { baseName: 'tuned' });
    expect(files).toEqual(['tuned-adapter.gguf']);

    const { metadata, tensors } = await headerOf(join(folder, files[0]!));
    expect(metadata.get('general.type')?.value).toBe('adapter');
    expect(metadata.get('adapter.lora.alpha')?.value).toBeCloseTo(useRslora ? 16 * Math.sqrt(8) : 16, 5);
    expect(tensors).toHaveLength(2 * 7 * config.layerCount);
    expect(tensors[0]).toMatchObject({ name: 'blk.0.attn_q.weight.lora_a', dims: [64n, 8n], type: 'F32' });

    interface Pair {
      prompt_ids: number[];
      chosen_ids: number[];
    }
    const goldens = JSON.parse(await readFile(join(shared!, 'goldens/ids_first64.json'), 'utf8')) as { pairs: Pair[] };
    const sequences = goldens.pairs.slice(0, 8).map(({ prompt_ids, chosen_ids }) => ({
      prompt: Int32Array.from(prompt_ids),
      response: Int32Array.from(chosen_ids),
    }));
    const policy = await enginePolicy({ baseModel, folder: source, adapter, threads: 1 })(sequences);
    const difference = async (adapterPath: string | undefined) => {
      const judge = await openJudge(join(folder, 'base-F32.gguf'), adapterPath === undefined ? {} : { adapterPath });
      const logps = await judge.tokenLogps(
        sequences.map(({ prompt, response }) => Int32Array.of(...prompt, ...response)),
      );
      await judge.close();
      return Math.max(
        ...sequences.flatMap(({ prompt }, index) =>
          Array.from(policy[index]!, (logp, token) => Math.abs(logp - logps[index]![prompt.length - 1 + token]!)),
        ),
      );
    };
    expect(await difference(join(folder, files[0]!))).toBeLessThan(1e-4);
    expect(await difference(undefined)).toBeGreaterThan(0.1);
  },
);
