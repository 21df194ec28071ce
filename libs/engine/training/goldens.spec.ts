import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { loraLayout, readBaseModel, targetModules, type LoraSettings } from '@pairwise/model';
import { readSafetensors } from '@pairwise/safetensors';
import { digestOf } from '@pairwise/fingerprint';
import { Tokenizer } from 'tokenizers';
import { beforeAll, describe, expect, test } from 'vitest';
import { sharedFolder } from '@pairwise/testing';
import { folderAt } from '@pairwise/model/testing';
import { openSession, type Session } from '@pairwise/ort';
import {
  adapterParameters,
  adapterTensors,
  dpoGraph,
  dpoStep,
  dpoStepOn,
  evaluateDpo,
  initialState,
  packState,
  policyGraph,
  referenceGraph,
  resolveHyperparameters,
  treeLogps,
  treeOf,
  sum,
  unpackState,
  type DpoTask,
  type OptimizerState,
  type TrainingPair,
} from './index.ts';

// Trajectories computed by TRL; their settings are in ../shared/goldens/README.md.

const shared = sharedFolder();
const lora: LoraSettings = { r: 8, loraAlpha: 16, targetModules, useRslora: false };
const maxLength = 128;

interface GoldenStep {
  loss: number;
  grad_norm: number;
  [metric: string]: number;
}

describe.skipIf(shared === undefined)('40 LoRA steps of TRL', () => {
  let session: Session;
  let policy: Session;
  let task: DpoTask;
  let batches: TrainingPair[][];

  beforeAll(async () => {
    const folder = join(shared!, 'models/stories260K-eos1');
    const base = await readBaseModel(await folderAt(folder));
    const { config } = base;
    const pairs = await goldenPairs();
    const reference = await openSession({ graph: referenceGraph(base), folder, threads: 1 });
    const logps = await treeLogps(reference.run, config, pairs.map(treeOf));
    await reference.close();
    const trained = pairs.map((pair, index) => ({
      ...pair,
      referenceChosen: sum(logps[index]![0]!),
      referenceRejected: sum(logps[index]![1]!),
    }));
    batches = Array.from({ length: 40 }, (_, step) => trained.slice(step * 8, step * 8 + 8));
    session = await openSession({ graph: dpoGraph(base, lora, 'sigmoid'), folder, threads: 2 });
    const hyperparameters = resolveHyperparameters({ learningRate: 2e-4, lrSchedulerType: 'constant' }, 'spec');
    task = { config, layout: loraLayout(config, lora), pairs: trained, hyperparameters };
    policy = await openSession({ graph: policyGraph(base, lora), folder, threads: 1 });
    return async () => {
      await session.close();
      await policy.close();
    };
  });

  test('(a) batches of 8: loss, gradient norm and rewards at every step, and the final adapter', async () => {
    const state = goldenState(task);
    const golden = steps('a_lora_sigmoid.json');
    for (const [index, wanted] of golden.entries()) {
      expectStep(await dpoStepOn(session.run, task, state, batches[index]!), wanted, index + 1);
    }
    const final = readSafetensors(readFileSync(join(shared!, 'goldens/adapter_a_final/adapter_model.safetensors')));
    for (const { name, data } of adapterTensors(task.layout, state.parameters)) {
      const wanted = final.get(name)!.data as Float32Array;
      const worst = Math.max(...(data as Float32Array).map((value, i) => Math.abs(value - wanted[i]!)));
      expect(worst, name).toBeLessThan(1e-3);
    }
  });

  test('(e) the same 10 steps with one pair per micro-batch', async () => {
    const state = goldenState(task);
    for (const [index, wanted] of steps('e_grad_accum_1x8.json').entries()) {
      expectStep(await dpoStepOn(session.run, { ...task, rowLimit: 1 }, state, batches[index]!), wanted, index + 1);
    }
  });

  test('a resumed training continues bit for bit', async () => {
    const straight = goldenState(task);
    for (let step = 0; step < 4; step++) await dpoStep(session.run, task, straight);
    const first = goldenState(task);
    for (let step = 0; step < 2; step++) await dpoStep(session.run, task, first);
    const resumed = unpackState(packState(first), task.layout);
    for (let step = 2; step < 4; step++) await dpoStep(session.run, task, resumed);
    expect(digestOf(packState(resumed))).toBe(digestOf(packState(straight)));
  });

  test('the forward graph evaluates a state to the same metrics as the training graph', async () => {
    const state = goldenState(task);
    await dpoStepOn(session.run, task, state, batches[0]!);
    const parameters = state.parameters.map((each) => each.slice());
    const trained = await dpoStepOn(session.run, task, state, batches[1]!);
    const evaluated = await evaluateDpo(policy.run, task, parameters, batches[1]!);
    for (const name of ['loss', 'rewards/margins', 'logps/chosen', 'logps/rejected']) {
      // The same float32 arithmetic with another order of additions, summed over up to 128 tokens.
      expect(Math.abs(evaluated[`eval_${name}`]! - trained[name]!), name).toBeLessThan(1e-4);
    }
  });
});

type Pair = Pick<TrainingPair, 'prompt' | 'chosen' | 'rejected'>;

/** The first 320 pairs as TRL tokenises them: EOS at the end of the text, then cut to `maxLength` from the right. */
async function goldenPairs(): Promise<Pair[]> {
  const tokenizer = Tokenizer.fromFile(join(shared!, 'models/stories260K-eos1/tokenizer.json'));
  const ids = async (text: string) => Int32Array.from((await tokenizer.encode(text)).getIds());
  const lines = readFileSync(join(shared!, 'data/concise-stories/train.jsonl'), 'utf8').split('\n').slice(0, 320);
  const encode = async (line: string): Promise<Pair> => {
    const row = JSON.parse(line) as Record<'prompt' | 'chosen' | 'rejected', string>;
    const prompt = await ids(row.prompt);
    const response = async (text: string) => (await ids(`${row.prompt}${text}<s>`)).slice(prompt.length, maxLength);
    return { prompt, chosen: await response(row.chosen), rejected: await response(row.rejected) };
  };
  return Promise.all(lines.map(encode));
}

function goldenState({ layout }: DpoTask): OptimizerState {
  const file = readFileSync(join(shared!, 'goldens/adapter_init/adapter_model.safetensors'));
  return initialState(adapterParameters(layout, readSafetensors(file)));
}

function steps(file: string): GoldenStep[] {
  return (JSON.parse(readFileSync(join(shared!, 'goldens', file), 'utf8')) as { steps: GoldenStep[] }).steps;
}

function expectStep(metrics: Record<string, number>, wanted: GoldenStep, step: number): void {
  expect(Math.abs(metrics['loss']! - wanted.loss), `loss at ${step}`).toBeLessThan(1e-4);
  expect(Math.abs(metrics['grad_norm']! / wanted.grad_norm - 1), `grad_norm at ${step}`).toBeLessThan(1e-3);
  for (const name of ['rewards/chosen', 'rewards/rejected', 'rewards/margins']) {
    expect(Math.abs(metrics[name]! - wanted[name]!), `${name} at ${step}`).toBeLessThan(1e-3);
  }
  // At the first step every margin is 0 up to rounding, so its sign is meaningless.
  if (step > 1) expect(metrics['rewards/accuracies'], `accuracies at ${step}`).toBe(wanted['rewards/accuracies']);
}
