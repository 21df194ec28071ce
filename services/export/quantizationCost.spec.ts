import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { QuantizedType } from '@pairwise/gguf';
import { quantizeGguf } from '@pairwise/llamacpp';
import { beforeAll, describe, expect, test } from 'vitest';
import { writeExact, writeGgufArtifact, type GgufModel } from './gguf.ts';
import { pairFigures } from './pairFigures.ts';
import { enginePolicy } from './policy.ts';
import { noiseCaveat, quantizationCost } from './quantizationCost.ts';
import { servingOf } from './serving.ts';
import { editGguf, freshFolder, openStories, padded, shared, type Stories } from './testing.ts';
import type { VerificationSequence } from './verify.ts';
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

  /** What `type` costs. `damage` changes the policy's file. */
  async function costOf(
    type: QuantizedType,
    adapter: Adapter | undefined,
    options: { storage?: (model: GgufModel) => Promise<GgufModel>; damage?: (path: string) => Promise<void> } = {},
  ) {
    const { source, baseModel, weights } = stories;
    const storage = options.storage ?? ((model: GgufModel) => Promise.resolve(model));
    const policy = await storage(
      adapter ? { ...base, weights: mergedWeights(weights, baseModel.config, adapter) } : base,
    );
    const target = freshFolder();
    const { files } = await writeGgufArtifact(target, policy, { baseName: 'x', type });
    const path = join(target, files[0]!);
    await options.damage?.(path);
    const logps = (trained: Adapter | undefined) =>
      enginePolicy({ baseModel, folder: source, adapter: trained, threads: 1 })(sequences);
    const folder = join(target, 'temporary');
    const unquantized = { model: await storage(base), logps: await logps(undefined) };
    const file = {
      path,
      type,
      sequences,
      policy: { model: policy, logps: await logps(adapter) },
      base: { ...unquantized, path: undefined, importance: undefined, threads: 1, visit: () => Promise.resolve() },
      isTrained: adapter !== undefined,
    };
    try {
      return await quantizationCost(folder, file, new AbortController().signal);
    } finally {
      expect(existsSync(folder)).toBe(false);
    }
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

  test('a base model has no margin, and is its own yardstick', async () => {
    const cost = await costOf('Q8_0', undefined);
    expect(cost.policy!.top1Agreement).toBeGreaterThan(0.95);
    expect(cost.base).toEqual(cost.policy);
    expect([cost.policy!.margin, cost.margin, cost.meanAbsLogpChange]).toEqual(Array(3).fill(undefined));
    expect(noiseCaveat('Q8_0', cost)).toBeUndefined();
  });

  const replaced = (tensor: string, by: string) => async (path: string) => {
    let bytes: Buffer;
    await editGguf(path, { weights: (name, found) => name === by && (bytes = Buffer.from(found)) });
    await editGguf(path, { weights: (name, found) => name === tensor && found.set(bytes) });
  };

  test('one wrong tensor in a Q2_K file is found, by a figure next to that of the base model', async () => {
    const damage = replaced('blk.2.ffn_down.weight', 'blk.3.ffn_down.weight');
    const found = costOf('Q2_K', stories.adapter, { storage: padded, damage });
    await expect(found).rejects.toMatchObject({ reason: 'VERIFICATION_FAILED', metadata: { type: 'Q2_K' } });
    await expect(found).rejects.toThrow(
      /its KL divergence is [\d.]+ nats per token, but at most [\d.]+ is allowed, because that of the quantised base model is [\d.]+/,
    );
  });

  test('a file that was quantised from another model is found', async () => {
    const { adapter } = stories;
    const other = { ...adapter, parameters: adapter.parameters.map((layer) => layer.map((value) => value * 0.9)) };
    const exact = await writeExact(
      freshFolder(),
      { ...base, weights: mergedWeights(stories.weights, base.config, other) },
      new AbortController().signal,
    );
    const damage = async (path: string) => {
      await quantizeGguf({ input: exact, output: path, type: 'Q8_0' });
    };
    await expect(costOf('Q8_0', adapter, { damage })).rejects.toThrow('its KL divergence is');
  });

  test('a file that is not the policy of our own engine before quantising is found', async () => {
    const storage = (model: GgufModel) =>
      Promise.resolve({ ...model, weights: { ...model.weights, rows: stories.weights.rows } });
    const found = costOf('Q8_0', stories.adapter, { storage });
    await expect(found).rejects.toThrow(
      'was quantised from a file that differs from the policy: the largest difference',
    );
  });
});
