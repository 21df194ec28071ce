import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { sharedFolder } from '@pairwise/testing';
import { expectGoldenLogps, largestDifference, logps, openForward } from './testing.ts';

const shared = sharedFolder();

describe.skipIf(shared === undefined)('logps of the reference implementations', () => {
  test.each([
    'llama3',
    'llama3-tied-bf16',
    'mistral',
    'mistral-swa16',
    'qwen2-sharded',
    'qwen2-yarn',
    'qwen3',
    'gemma2',
    'gemma3-text',
    'phi3',
    'smollm3',
    'olmo2',
    'granite',
    'qwen3-moe',
  ])('%s', async (name) => {
    await expectGoldenLogps(join(shared!, 'archs', name));
  });

  test('stories260K: packed pairs match one sequence at a time in float64', async () => {
    const { config, session } = await openForward(join(shared!, 'models/stories260K-eos1'));
    const golden = JSON.parse(readFileSync(join(shared!, 'goldens/ids_first64.json'), 'utf8')) as {
      pairs: Record<
        'prompt_ids' | 'chosen_ids' | 'rejected_ids' | 'ref_chosen_token_logps' | 'ref_rejected_token_logps',
        number[]
      >[];
    };
    const trees = golden.pairs.map((pair) => ({
      prefix: Int32Array.from(pair.prompt_ids),
      branches: [Int32Array.from(pair.chosen_ids), Int32Array.from(pair.rejected_ids)],
    }));
    const wanted = golden.pairs.flatMap((pair) => [pair.ref_chosen_token_logps, pair.ref_rejected_token_logps]);
    const packed = await logps(session, config, trees);
    expect(largestDifference(packed, wanted)).toBeLessThan(2e-4);

    // Packed or one by one, with a shared prompt or not: only the order of additions in float32 differs.
    const few = trees.slice(0, 6);
    const alone = (await Promise.all(few.map((tree) => logps(session, config, [tree])))).flat();
    const apart = await logps(
      session,
      config,
      few.flatMap(({ prefix, branches }) => branches.map((branch) => ({ prefix, branches: [branch] }))),
    );
    const rows = (list: Float32Array[]) => list.map((row) => [...row]);
    expect(largestDifference(alone, rows(packed.slice(0, 12)))).toBeLessThan(2e-5);
    expect(largestDifference(apart, rows(packed.slice(0, 12)))).toBeLessThan(2e-5);
    await session.close();
  });
});
