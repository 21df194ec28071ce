import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loraLayout, readCheckpoint } from '@pairwise/model';
import { readSafetensors, type ModelFolder } from '@pairwise/safetensors';
import type { Checkpoint, LoraShape } from '@pairwise/model';
import { adapterParameters } from '@pairwise/training';
import { afterAll } from 'vitest';
import { sharedFolder } from '@pairwise/testing';
import { baseWeights } from './weights.ts';
import type { Adapter, ExportWeights } from './weights.ts';

/** The folder with reference material; undefined if this machine does not have it. */
export const shared = sharedFolder();

const folder = mkdtempSync(join(tmpdir(), 'pairwise-export-'));
afterAll(() => rmSync(folder, { recursive: true }));
let count = 0;
/** Creates an empty folder that is removed after the tests of the file. */
export function freshFolder(): string {
  const path = join(folder, String(count++));
  mkdirSync(path);
  return path;
}

export async function modelFolder(path: string): Promise<ModelFolder> {
  const names = await readdir(path);
  const files = names.map(async (name) => ({ path: name, sizeBytes: (await stat(join(path, name))).size }));
  return {
    files: await Promise.all(files),
    read: async (name, start, end) => (await readFile(join(path, name))).subarray(start, end),
  };
}

export interface Stories {
  /** Path of the base model's folder. */
  source: string;
  base: ModelFolder;
  checkpoint: Checkpoint;
  weights: ExportWeights;
  /** An adapter that was trained on the base model. */
  adapter: Adapter;
}

/** Opens the model stories260K and an adapter from the reference material. */
export async function openStories(): Promise<Stories> {
  const source = join(shared!, 'models/stories260K-eos1');
  const base = await modelFolder(source);
  const checkpoint = await readCheckpoint(base);
  const lora: LoraShape = {
    r: 8,
    alpha: 16,
    targetModules: ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'],
    useRslora: false,
  };
  const file = await readFile(join(shared!, 'goldens/adapter_a_final/adapter_model.safetensors'));
  const parameters = adapterParameters(loraLayout(checkpoint.config, lora), readSafetensors(file));
  const weights = baseWeights(checkpoint, (...range) => base.read(...range));
  return { source, base, checkpoint, weights, adapter: { lora, parameters } };
}
