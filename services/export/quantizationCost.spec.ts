import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { openJudge } from '@pairwise/llamacpp';
import { beforeAll, describe, expect, test } from 'vitest';
import { writeGgufArtifact, type GgufModel } from './gguf.ts';
import { pairFigures } from './pairFigures.ts';
import { enginePolicy } from './policy.ts';
import { noiseCaveat, quantizationCost } from './quantizationCost.ts';
import { servingOf } from './serving.ts';
import { freshFolder, openStories, shared, type Stories } from './testing.ts';
import { fileLogps, type VerificationSequence } from './verify.ts';
import { mergedWeights, type Adapter } from './weights.ts';

test('margins and accuracy are those of the pairs', () => {
  const policy = [[-1, -1], [-3], [-2], [-1]];
  const reference = [[-2, -2], [-2], [-2], [-2]];
  // Logratios 2 and -1, 0 and 1: margins 3 and -1.
  expect(pairFigures(policy, reference)).toEqual({ margin: 1, accuracy: 0.5 });
});

describe.skipIf(!shared)('what quantising costs (skipped without ../shared)', () => {
  let stories: Stories;
  let base: GgufModel;
  let sequences: VerificationSequence[];
  beforeAll(async () => {
    stories = await openStories();
    const { baseModel, weights } = stories;
    base = { name: 'stories', config: baseModel.config, weights, ...(await servingOf(stories.base, undefined)) };
    const goldens = await readFile(join(shared!, 'goldens/ids_first64.json'), 'utf8');
    type Golden = Record<'prompt_ids' | 'chosen_ids' | 'rejected_ids', number[]>;
    sequences = (JSON.parse(goldens) as { pairs: Golden[] }).pairs.slice(0, 8).flatMap((pair) => {
      const prompt = Int32Array.from(pair.prompt_ids);
      return [pair.chosen_ids, pair.rejected_ids].map((ids) => ({ prompt, response: Int32Array.from(ids) }));
    });
  });

  async function costOf(type: 'Q8_0' | 'Q4_K_M', adapter: Adapter | undefined) {
    const { source, baseModel, weights } = stories;
    const policy = adapter ? { ...base, weights: mergedWeights(weights, baseModel.config, adapter) } : base;
    const target = freshFolder();
    const { files } = await writeGgufArtifact(target, policy, { baseName: 'x', type });
    const path = join(target, files[0]!);
    const judge = await openJudge(path);
    const file = await fileLogps(judge, sequences);
    await judge.close();
    const engine = (trained: Adapter | undefined) =>
      enginePolicy({ baseModel, folder: source, adapter: trained, threads: 1 })(sequences);
    const logps = { file, policy: await engine(adapter) };
    const reference = adapter && {
      base,
      path: undefined,
      importance: undefined,
      visit: () => Promise.resolve(),
      logps: await engine(undefined),
    };
    const folder = join(target, 'temporary');
    const signal = new AbortController().signal;
    const cost = await quantizationCost(folder, { path, type, policy, sequences, logps, reference }, signal);
    expect(existsSync(folder)).toBe(false);
    return cost;
  }

  test('a trained policy keeps its margin, next to the quantised base model', async () => {
    const cost = await costOf('Q8_0', stories.adapter);
    const { policy, base: yardstick, margin, accuracy, meanAbsLogpChange } = cost;
    for (const { klDivergence, top1Agreement, meanAbsLogpDiff } of [policy!, yardstick!]) {
      expect(klDivergence).toBeGreaterThan(0);
      expect(klDivergence).toBeLessThan(0.01);
      expect(top1Agreement).toBeGreaterThan(0.95);
      expect(meanAbsLogpDiff).toBeGreaterThan(0);
      expect(meanAbsLogpDiff).toBeLessThan(0.1);
    }
    expect(margin).toBeGreaterThan(50);
    expect(policy!.margin).toBeCloseTo(margin!, 0);
    expect([policy!.accuracy, accuracy]).toEqual([1, 1]);
    // Nobody trained the base model.
    expect(yardstick!.margin).toBeCloseTo(0, 0);
    expect(meanAbsLogpChange).toBeGreaterThan(0.5);
    expect(noiseCaveat('Q8_0', cost)).toBeUndefined();
  });

  test('a type that is noisier than half of the training gets a caveat with both figures', async () => {
    const { lora, parameters } = stories.adapter;
    const weak = { lora, parameters: parameters.map((layer) => layer.map((value) => value * 0.2)) };
    const cost = await costOf('Q4_K_M', weak);
    const [noise, change] = [cost.policy!.meanAbsLogpDiff, cost.meanAbsLogpChange!];
    expect(noise).toBeGreaterThan(change / 2);
    const caveat = noiseCaveat('Q4_K_M', cost)!;
    expect(caveat).toContain(`by ${noise.toPrecision(3)} nats on average`);
    expect(caveat).toContain(`of the ${change.toPrecision(3)} nats by which training changed it`);
    // The yardstick shows it too: quantising alone moves the margin further than training did.
    expect(Math.abs(cost.base!.margin!)).toBeGreaterThan(cost.margin!);
  });

  test('a base model has no margin and no yardstick', async () => {
    const cost = await costOf('Q8_0', undefined);
    expect(cost.policy!.top1Agreement).toBeGreaterThan(0.95);
    expect([cost.policy!.margin, cost.base, cost.margin, cost.meanAbsLogpChange]).toEqual(Array(4).fill(undefined));
    expect(noiseCaveat('Q8_0', cost)).toBeUndefined();
  });
});
