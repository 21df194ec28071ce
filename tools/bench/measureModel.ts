import { fork } from 'node:child_process';
import { once } from 'node:events';
import { allocatorSettings } from '@pairwise/lifecycle';
import { openBenchModel } from './model.ts';
import { benchPairs, longPair } from './pairs.ts';
import type { PhaseFigures, PhaseSpec } from './phase.ts';

type Settings = Omit<PhaseSpec, 'name'>;

export interface WorkFigures extends PhaseFigures {
  /** What the matrix products of the work take alone. */
  productsCpuSecondsPerPair: number;
  /** CPU seconds of the work, divided by those of its products. */
  timesProducts: number;
}

/** Speed and memory of training and of the reference pass. */
export interface ModelFigures extends Omit<Settings, 'pairs'> {
  training: WorkFigures;
  reference: WorkFigures;
  pairs: number;
  data: string;
}

/** Measures each phase in a process of its own. Models are written on first use. */
export async function measureModel(settings: Settings, report: (text: string) => void): Promise<ModelFigures> {
  await openBenchModel(settings, report);
  const { data, pairs } =
    settings.pairs === 'long'
      ? { data: 'one pair of 8,192 rows, random tokens', pairs: [longPair()] }
      : await benchPairs(settings.pairs);
  const phase = (name: PhaseSpec['name']) => {
    report(`${name}: ${pairs.length} pairs on ${settings.threads} threads ...`);
    return figuresOf({ ...settings, name });
  };
  const [training, reference] = [await phase('training'), await phase('reference')];
  return {
    training: besideProducts(training, await phase('trainingProducts')),
    reference: besideProducts(reference, await phase('referenceProducts')),
    ...settings,
    pairs: pairs.length,
    data,
  };
}

async function figuresOf(spec: PhaseSpec): Promise<PhaseFigures> {
  const child = fork(new URL('./phase.ts', import.meta.url), [JSON.stringify(spec)], {
    env: { ...allocatorSettings, ...process.env },
  });
  let figures: PhaseFigures | undefined;
  child.once('message', (message) => (figures = message as PhaseFigures));
  const [code] = (await once(child, 'exit')) as [number | null];
  if (figures === undefined) throw new Error(`the ${spec.name} phase ended with code ${code} and without figures`);
  return figures;
}

function besideProducts(work: PhaseFigures, products: PhaseFigures): WorkFigures {
  const figures = {
    ...work,
    productsCpuSecondsPerPair: products.cpuSecondsPerPair,
    timesProducts: work.cpuSecondsPerPair / products.cpuSecondsPerPair,
  };
  const rounded = Object.entries(figures).map(([name, value]) => [name, Number(value.toPrecision(4))]);
  return Object.fromEntries(rounded) as WorkFigures;
}
