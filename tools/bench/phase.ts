/** `phase.ts training|reference <pairs> <threads>`: one phase in its own process, so that its peak memory is measured alone. */
import { open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import {
  loraLayout,
  initialLora,
  readBaseModel,
  rowCount,
  targetModules,
  type BaseModel,
  type LoraSettings,
} from '@pairwise/model';
import { openSession } from '@pairwise/ort';
import {
  dpoGraph,
  dpoStep,
  initialState,
  referenceGraph,
  resolveHyperparameters,
  treeLogps,
  treeOf,
  uniformStream,
  type TrainingPair,
} from '@pairwise/training';
import { benchModel } from './model.ts';
import { benchPairs } from './pairs.ts';

/** Cost of a phase, without opening the session. */
export interface PhaseFigures {
  cpuSecondsPerPair: number;
  wallSecondsPerPair: number;
  pairsPerSecond: number;
  /** Tokens that go through the model; each prompt counts once. */
  tokensPerSecond: number;
  peakRssMb: number;
}

const lora: LoraSettings = { r: 16, loraAlpha: 32, targetModules, useRslora: false };

async function baseModelAt(folder: string): Promise<BaseModel> {
  const files = ['config.json', 'model.safetensors'].map(async (path) => {
    return { path, sizeBytes: (await stat(join(folder, path))).size };
  });
  return readBaseModel({
    files: await Promise.all(files),
    async read(path, start, end) {
      await using file = await open(join(folder, path));
      const bytes = new Uint8Array(end - start);
      await file.read(bytes, 0, bytes.length, start);
      return bytes;
    },
  });
}

/** One epoch in batches of 8 pairs, otherwise with the defaults of a run. */
async function training(folder: string, pairs: TrainingPair[], threads: number): Promise<() => Promise<void>> {
  const model = await baseModelAt(folder);
  const session = await openSession({ graph: dpoGraph(model, lora, 'sigmoid'), folder, threads });
  const layout = loraLayout(model.config, lora);
  const hyperparameters = resolveHyperparameters({ batchSize: 8 }, 'bench');
  const state = initialState(initialLora(layout, uniformStream(0, 'lora')));
  return async () => {
    for (let step = 0; step < Math.ceil(pairs.length / 8); step++) {
      await dpoStep(session.run, { config: model.config, layout, pairs, hyperparameters }, state);
    }
    await session.close();
  };
}

async function reference(folder: string, pairs: TrainingPair[], threads: number): Promise<() => Promise<void>> {
  const model = await baseModelAt(folder);
  const session = await openSession({ graph: referenceGraph(model), folder, threads });
  return async () => {
    await treeLogps(session.run, model.config, pairs.map(treeOf));
    await session.close();
  };
}

async function measure(name: string, count: number, threads: number): Promise<PhaseFigures> {
  const folder = await benchModel();
  const { pairs } = await benchPairs(count);
  const work = await (name === 'training' ? training : reference)(folder, pairs, threads);
  const cpu = process.cpuUsage();
  const start = performance.now();
  await work();
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  const tokens = pairs.reduce((sum, pair) => sum + rowCount(treeOf(pair)), 0);
  return {
    cpuSecondsPerPair: (user + system) / 1e6 / pairs.length,
    wallSecondsPerPair: seconds / pairs.length,
    pairsPerSecond: pairs.length / seconds,
    tokensPerSecond: tokens / seconds,
    peakRssMb: process.resourceUsage().maxRSS / 1024,
  };
}

if (process.send) {
  const [name, count, threads] = process.argv.slice(2);
  process.send(await measure(name!, Number(count), Number(threads)));
}
