import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { initialLora, loraLayout, readBaseModel, type BaseModel, type LoraSettings } from '@pairwise/model';
import type { Graph } from '@pairwise/onnx';
import { writeTinyModel } from '@pairwise/testing';
import { folderAt } from '@pairwise/model/testing';
import { openSession, type Session } from '@pairwise/ort';
import {
  initialState,
  referenceGraph,
  resolveHyperparameters,
  treeLogps,
  treeOf,
  sum,
  uniformStream,
  type DpoTask,
  type HyperparameterInput,
  type OptimizerState,
  type TrainingPair,
} from './index.ts';

export const lora: LoraSettings = {
  r: 4,
  loraAlpha: 8,
  targetModules: ['q_proj', 'v_proj', 'down_proj'],
  useRslora: false,
};

/** For specs: a tiny model on disk, pairs with its logps as reference, and sessions that `close` ends. */
export interface TinySetting {
  folder: string;
  base: BaseModel;
  task: (hyperparameters?: HyperparameterInput) => DpoTask;
  open: (graph: Graph, threads?: number) => Promise<Session>;
  close: () => Promise<void>;
}

export async function tinySetting(): Promise<TinySetting> {
  const folder = mkdtempSync(join(tmpdir(), 'pairwise-training-'));
  writeTinyModel(folder);
  const base = await readBaseModel(await folderAt(folder));
  const sessions: Session[] = [];
  const open = async (graph: Graph, threads = 1) => {
    sessions.push(await openSession({ graph, folder, threads }));
    return sessions.at(-1)!;
  };
  const reference = await open(referenceGraph(base));
  const texts = tinyTexts(11);
  const logps = await treeLogps(reference.run, base.config, texts.map(treeOf));
  const pairs = texts.map((text, index): TrainingPair => ({
    ...text,
    referenceChosen: sum(logps[index]![0]!),
    referenceRejected: sum(logps[index]![1]!),
  }));
  const layout = loraLayout(base.config, lora);
  return {
    folder,
    base,
    task: (hyperparameters = {}) => ({
      config: base.config,
      layout,
      pairs,
      hyperparameters: resolveHyperparameters(hyperparameters, 'spec'),
    }),
    open,
    close: async () => {
      for (const session of sessions) await session.close();
      rmSync(folder, { recursive: true });
    },
  };
}

/** Random tokens: prompts and responses of 1 to 24. */
function tinyTexts(count: number): Pick<TrainingPair, 'prompt' | 'chosen' | 'rejected'>[] {
  const uniform = uniformStream(3, 'tiny texts');
  const below = (limit: number) => Math.floor(uniform() * limit);
  const ids = () => Int32Array.from({ length: 1 + below(24) }, () => below(256));
  return Array.from({ length: count }, () => ({ prompt: ids(), chosen: ids(), rejected: ids() }));
}

/** A new adapter; with `moved` its B factors are no longer zero, so that the policy differs from the reference. */
export function tinyState({ layout }: DpoTask, moved = 0, seed = 1): OptimizerState {
  const uniform = uniformStream(seed, 'lora');
  const parameters = initialLora(layout, uniform);
  for (const vector of parameters) vector.forEach((value, i) => (vector[i] = value + (uniform() - 0.5) * moved));
  return initialState(parameters);
}
