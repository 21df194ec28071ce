/** One phase in its own process, so that its peak memory is measured alone. The only argument is a `PhaseSpec` as JSON. */
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
import { rssMb } from './family.ts';
import { benchModel } from './model.ts';
import { benchPairs, longPair } from './pairs.ts';

export interface PhaseSpec {
  name: 'training' | 'reference';
  /** How many pairs, or one of 8,192 rows. */
  pairs: number | 'long';
  threads: number;
  checkpoint: 'cheap' | 'layers';
}

/** Cost of a phase, without opening the session, which `openSeconds` is about. */
export interface PhaseFigures {
  openSeconds: number;
  cpuSecondsPerPair: number;
  wallSecondsPerPair: number;
  pairsPerSecond: number;
  /** Tokens that go through the model; each prompt counts once. */
  tokensPerSecond: number;
  /** Anonymous and mapped memory when the anonymous memory was largest, of 100 samples a second. */
  peakAnonymousMb: number;
  mappedMb: number;
}

const sampleMs = 10;

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

type Work = () => Promise<void>;

/** One epoch in batches of 8 pairs, otherwise with the defaults of a run. */
async function training(folder: string, pairs: TrainingPair[], { threads, checkpoint }: PhaseSpec): Promise<Work> {
  const model = await baseModelAt(folder);
  const graph = dpoGraph(model, lora, 'sigmoid', { activationCheckpointing: checkpoint });
  const session = await openSession({ graph, folder, threads });
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

async function reference(folder: string, pairs: TrainingPair[], { threads }: PhaseSpec): Promise<Work> {
  const model = await baseModelAt(folder);
  const session = await openSession({ graph: referenceGraph(model), folder, threads });
  return async () => {
    await treeLogps(session.run, model.config, pairs.map(treeOf));
    await session.close();
  };
}

async function measure(spec: PhaseSpec): Promise<PhaseFigures> {
  const folder = await benchModel();
  const pairs = spec.pairs === 'long' ? [longPair()] : (await benchPairs(spec.pairs)).pairs;
  const opening = performance.now();
  const work = await (spec.name === 'training' ? training : reference)(folder, pairs, spec);
  const cpu = process.cpuUsage();
  const start = performance.now();
  let peak = rssMb();
  const sampling = setInterval(() => {
    const now = rssMb();
    if (now.anonymous > peak.anonymous) peak = now;
  }, sampleMs);
  await work();
  clearInterval(sampling);
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  const tokens = pairs.reduce((sum, pair) => sum + rowCount(treeOf(pair)), 0);
  return {
    openSeconds: (start - opening) / 1000,
    cpuSecondsPerPair: (user + system) / 1e6 / pairs.length,
    wallSecondsPerPair: seconds / pairs.length,
    pairsPerSecond: pairs.length / seconds,
    tokensPerSecond: tokens / seconds,
    peakAnonymousMb: peak.anonymous,
    mappedMb: peak.mapped,
  };
}

if (process.send) process.send(await measure(JSON.parse(process.argv[2]!) as PhaseSpec));
