/** One phase in its own process, so that its peak memory is measured alone. The only argument is a `PhaseSpec` as JSON. */
import { initialLora, loraLayout, packTrees, rowCount, targetModules, type LoraSettings } from '@pairwise/model';
import { openSession } from '@pairwise/ort';
import {
  dpoBatches,
  dpoGraph,
  dpoStep,
  initialState,
  microBatchShape,
  packState,
  planMicroBatches,
  referenceGraph,
  referenceMemory,
  resolveHyperparameters,
  totalBytes,
  trainingMemory,
  treeLogps,
  treeOf,
  uniformStream,
  unpackState,
  type TrainingPair,
} from '@pairwise/training';
import { rssMb } from './family.ts';
import { openBenchModel, type LocalModel, type ModelChoice } from './model.ts';
import { benchPairs, longPair } from './pairs.ts';
import { openProducts } from './products.ts';

export interface PhaseSpec extends ModelChoice {
  name: keyof typeof phases;
  /** How many pairs, or one of 8,192 rows. */
  pairs: number | 'long';
  threads: number;
  checkpoint: 'cheap' | 'layers';
}

/** Cost of a phase. Times are without opening the session, which `openSeconds` is about; memory is with it. */
export interface PhaseFigures {
  openSeconds: number;
  cpuSecondsPerPair: number;
  wallSecondsPerPair: number;
  pairsPerSecond: number;
  /** Tokens that go through the model; each prompt counts once. */
  tokensPerSecond: number;
  /** The largest sum of anonymous memory and mapped pages, of 100 samples a second, and what it consists of. */
  peakMb: number;
  anonymousMb: number;
  mappedMb: number;
  /** The peak that the memory plan foresees; undefined for products. */
  plannedMb?: number;
}

const sampleMs = 10;

const lora: LoraSettings = { r: 16, loraAlpha: 32, targetModules, useRslora: false };

/** Opens what a phase needs, and returns its work. */
type Phase = (model: LocalModel, pairs: TrainingPair[], spec: PhaseSpec) => Promise<() => Promise<void>>;

const hyperparameters = resolveHyperparameters({ batchSize: 8 }, 'bench');
const stepCount = (pairs: TrainingPair[]) => Math.ceil(pairs.length / hyperparameters.batchSize);

/** One epoch in batches of 8 pairs from a checkpoint, otherwise with the defaults of a run. */
const training: Phase = async ({ folder, baseModel }, pairs, { threads, checkpoint }) => {
  const { config } = baseModel;
  const layout = loraLayout(config, lora);
  const state = unpackState(packState(initialState(initialLora(layout, uniformStream(0, 'lora')))), layout);
  const graph = dpoGraph(baseModel, lora, 'sigmoid', { activationCheckpointing: checkpoint });
  const session = await openSession({ graph, folder, threads });
  return async () => {
    for (let step = 0; step < stepCount(pairs); step++) {
      await dpoStep(session.run, { config, layout, pairs, hyperparameters }, state);
    }
    await session.close();
  };
};

const reference: Phase = async ({ folder, baseModel }, pairs, { threads }) => {
  const session = await openSession({ graph: referenceGraph(baseModel), folder, threads });
  return async () => {
    await treeLogps(session.run, baseModel.config, pairs.map(treeOf));
    await session.close();
  };
};

/** The products of the micro-batches of some batches of pairs: those of training if there is a rank. */
function products(batches: TrainingPair[][], rank: number | undefined, { baseModel }: LocalModel, threads: number) {
  const rows = batches.flatMap((batch) => {
    const trees = batch.map(treeOf);
    return planMicroBatches(trees).map((part) => {
      const places = part.map((index) => trees[index]!);
      const { tokenCount, targetCount } = packTrees(places, baseModel.config);
      return { T: tokenCount, N: targetCount };
    });
  });
  return openProducts(baseModel.config, rank, rows, threads);
}

const trainingProducts: Phase = (model, pairs, { threads }) => {
  const batchOf = dpoBatches({ pairs, hyperparameters });
  const batches = Array.from({ length: stepCount(pairs) }, (_, step) => batchOf(step));
  return products(batches, lora.r, model, threads);
};

const referenceProducts: Phase = (model, pairs, { threads }) => products([pairs], undefined, model, threads);

const phases = { training, reference, trainingProducts, referenceProducts };

/** What a worker would plan for these pairs. */
function planned({ baseModel }: LocalModel, pairs: TrainingPair[], { name, checkpoint }: PhaseSpec) {
  if (name !== 'training' && name !== 'reference') return {};
  const shape = microBatchShape(pairs);
  const memory =
    name === 'reference'
      ? referenceMemory(baseModel, shape)
      : trainingMemory(baseModel, { lora, lossType: 'sigmoid' }, checkpoint, shape);
  return { plannedMb: totalBytes(memory) / 2 ** 20 };
}

async function measure(spec: PhaseSpec): Promise<PhaseFigures> {
  const model = await openBenchModel(spec, () => undefined);
  const pairs = spec.pairs === 'long' ? [longPair()] : (await benchPairs(spec.pairs)).pairs;
  const total = ({ anonymous, mapped }: ReturnType<typeof rssMb>) => anonymous + mapped;
  let peak = rssMb();
  const sampling = setInterval(() => {
    const now = rssMb();
    if (total(now) > total(peak)) peak = now;
  }, sampleMs);
  const opening = performance.now();
  const work = await phases[spec.name](model, pairs, spec);
  const cpu = process.cpuUsage();
  const start = performance.now();
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
    peakMb: total(peak),
    anonymousMb: peak.anonymous,
    mappedMb: peak.mapped,
    ...planned(model, pairs, spec),
  };
}

if (process.send) process.send(await measure(JSON.parse(process.argv[2]!) as PhaseSpec));
