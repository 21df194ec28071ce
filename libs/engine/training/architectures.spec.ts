import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { loraLayout, readBaseModel, targetModules, type LinearModule, type LoraSettings } from '@pairwise/model';
import { folderAt } from '@pairwise/model/testing';
import { openSession } from '@pairwise/ort';
import { readSafetensors } from '@pairwise/safetensors';
import { sharedFolder } from '@pairwise/testing';
import { describe, expect, test } from 'vitest';
import {
  adapterParameters,
  dpoGraph,
  dpoStepOn,
  initialState,
  referenceGraph,
  resolveHyperparameters,
  sum,
  treeLogps,
  treeOf,
  type TrainingPair,
} from './index.ts';

const shared = sharedFolder();

/** Three DPO steps that PEFT and transformers took in float64; ../shared/archs/README.md describes them. */
interface Golden {
  lora: { r: number; lora_alpha: number; target_modules: LinearModule[] };
  pairs: Record<'prompt_ids' | 'chosen_ids' | 'rejected_ids', number[]>[];
  reference: [number, number][];
  steps: { loss: number; grad_norm: number; chosen_logps: number[]; rejected_logps: number[] }[];
}

describe.skipIf(shared === undefined)('three DPO steps of each architecture', () => {
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
    const folder = join(shared!, 'archs', name);
    const golden = JSON.parse(readFileSync(join(folder, 'dpo_golden.json'), 'utf8')) as Golden;
    const base = await readBaseModel(await folderAt(folder));
    const named = golden.lora.target_modules;
    const lora: LoraSettings = {
      r: golden.lora.r,
      loraAlpha: golden.lora.lora_alpha,
      targetModules: targetModules.filter((module) => named.includes(module)),
      useRslora: false,
    };
    const layout = loraLayout(base.config, lora);
    const texts = golden.pairs.map(({ prompt_ids: prompt, chosen_ids: chosen, rejected_ids: rejected }) => ({
      prompt: Int32Array.from(prompt),
      chosen: Int32Array.from(chosen),
      rejected: Int32Array.from(rejected),
    }));
    const reference = await openSession({ graph: referenceGraph(base), folder, threads: 1 });
    const logps = await treeLogps(reference.run, base.config, texts.map(treeOf));
    await reference.close();
    const pairs = texts.map((text, index): TrainingPair => {
      const [referenceChosen, referenceRejected] = logps[index]!.map(sum) as [number, number];
      const [chosen, rejected] = golden.reference[index]!;
      expect(Math.abs(referenceChosen - chosen), `reference logps of pair ${index}`).toBeLessThan(1e-3);
      expect(Math.abs(referenceRejected - rejected), `reference logps of pair ${index}`).toBeLessThan(1e-3);
      return { ...text, referenceChosen, referenceRejected };
    });
    const hyperparameters = resolveHyperparameters(
      { learningRate: 1e-3, lrSchedulerType: 'constant', batchSize: 4 },
      'spec',
    );
    const adapter = readFileSync(join(folder, 'adapter_init/adapter_model.safetensors'));
    const initial = () => initialState(adapterParameters(layout, readSafetensors(adapter)));
    const [state, same] = [initial(), initial()];
    const open = (activationCheckpointing: 'cheap' | 'layers') =>
      openSession({ graph: dpoGraph(base, lora, 'sigmoid', { activationCheckpointing }), folder, threads: 1 });
    const [session, checkpointed] = [await open('cheap'), await open('layers')];
    const task = { config: base.config, layout, pairs, hyperparameters };
    for (const [index, { loss, grad_norm }] of golden.steps.entries()) {
      const batch = pairs.slice(index * 4, index * 4 + 4);
      const metrics = await dpoStepOn(session.run, task, state, batch);
      if (base.config.experts) {
        // Between an even load and one expert for everything.
        expect(metrics['expert_load']).toBeGreaterThan(1);
        expect(metrics['expert_load']).toBeLessThanOrEqual(base.config.experts.count);
      }
      expect(Math.abs(metrics['loss']! - loss), `loss at step ${index + 1}`).toBeLessThan(1e-4);
      expect(Math.abs(metrics['grad_norm']! / grad_norm - 1), `grad_norm at step ${index + 1}`).toBeLessThan(1e-3);
      // Recomputed values are the same bits.
      expect(await dpoStepOn(checkpointed.run, task, same, batch)).toEqual(metrics);
      expect(same.parameters).toEqual(state.parameters);
    }
    await session.close();
    await checkpointed.close();
  });
});
