/**
 * `npm run bench [-- --checkpoint layers] [--long] [--json]` measures speed and memory of training and of the reference pass;
 * `npm run bench -- idle` measures an idle platform, `npm run bench -- export` the exports of a large model.
 * docs/benchmarks.md has results.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { measureExports } from './export.ts';
import { measureIdle } from './idle.ts';
import { benchModel } from './model.ts';
import { benchPairs, longPair } from './pairs.ts';
import type { PhaseFigures, PhaseSpec } from './phase.ts';

const {
  values: flags,
  positionals: [subject = 'model'],
} = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'boolean', default: false },
    pairs: { type: 'string', default: '40' },
    long: { type: 'boolean', default: false },
    checkpoint: { type: 'string', default: 'cheap' },
    threads: { type: 'string', default: String(availableParallelism()) },
    layers: { type: 'string', default: '32' },
    seconds: { type: 'string', default: '30' },
  },
});
const [pairCount, threads] = [wholeNumber('pairs', flags.pairs), wholeNumber('threads', flags.threads)];
const checkpoint = checkpointLevel(flags.checkpoint);

function wholeNumber(flag: string, text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  return refuse(flag, text, 'a whole number above 0');
}

function checkpointLevel(text: string): PhaseSpec['checkpoint'] {
  return text === 'cheap' || text === 'layers' ? text : refuse('checkpoint', text, 'cheap or layers');
}

function refuse(flag: string, text: string, wanted: string): never {
  process.stderr.write(`--${flag} is ${text}; it must be ${wanted}\n`);
  process.exit(2);
}

async function phase(name: PhaseSpec['name']): Promise<PhaseFigures> {
  const spec: PhaseSpec = { name, pairs: flags.long ? 'long' : pairCount, threads, checkpoint };
  if (!flags.json) process.stderr.write(`${name}: ${flags.long ? 1 : pairCount} pairs on ${threads} threads ...\n`);
  const child = fork(new URL('./phase.ts', import.meta.url), [JSON.stringify(spec)]);
  let figures: PhaseFigures | undefined;
  child.once('message', (message) => (figures = message as PhaseFigures));
  const [code] = (await once(child, 'exit')) as [number | null];
  if (figures === undefined) throw new Error(`the ${name} phase ended with code ${code} and without figures`);
  return figures;
}

function rounded(figures: PhaseFigures): PhaseFigures {
  return Object.fromEntries(
    Object.entries(figures).map(([name, value]) => [name, Number((value as number).toPrecision(4))]),
  ) as unknown as PhaseFigures;
}

async function model() {
  await benchModel();
  const { data, pairs } = flags.long
    ? { data: 'one pair of 8,192 rows, random tokens', pairs: [longPair()] }
    : await benchPairs(pairCount);
  return {
    training: rounded(await phase('training')),
    reference: rounded(await phase('reference')),
    pairs: pairs.length,
    threads,
    checkpoint,
    model: 'SmolLM2-135M shape, random float32 weights, LoRA r 16 on all linear layers',
    data,
  };
}

if (subject === 'idle') {
  const figures = await measureIdle(wholeNumber('seconds', flags.seconds));
  if (flags.json) process.stdout.write(`${JSON.stringify(figures)}\n`);
  else console.table(figures);
} else if (subject === 'export') {
  const figures = await measureExports(wholeNumber('layers', flags.layers), (text) => {
    if (!flags.json) process.stderr.write(`${text}\n`);
  });
  if (flags.json) process.stdout.write(`${JSON.stringify(figures)}\n`);
  else console.table(figures.artifacts);
} else {
  const result = await model();
  if (flags.json) process.stdout.write(`${JSON.stringify(result)}\n`);
  else console.table({ training: result.training, reference: result.reference });
}
