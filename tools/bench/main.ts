/**
 * `npm run bench [-- --json]` measures speed and memory of training and of the reference pass; `npm run bench -- idle`
 * measures an idle platform, `npm run bench -- export` the exports of a large model. docs/benchmarks.md has results.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { measureExports } from './export.ts';
import { measureIdle } from './idle.ts';
import { benchModel } from './model.ts';
import { benchPairs } from './pairs.ts';
import type { PhaseFigures } from './phase.ts';

const {
  values: flags,
  positionals: [subject = 'model'],
} = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'boolean', default: false },
    pairs: { type: 'string', default: '40' },
    threads: { type: 'string', default: String(availableParallelism()) },
    layers: { type: 'string', default: '32' },
    seconds: { type: 'string', default: '30' },
  },
});
const [pairCount, threads] = [wholeNumber('pairs', flags.pairs), wholeNumber('threads', flags.threads)];

function wholeNumber(flag: string, text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  process.stderr.write(`--${flag} is ${text}; it must be a whole number above 0\n`);
  process.exit(2);
}

async function phase(name: 'training' | 'reference'): Promise<PhaseFigures> {
  if (!flags.json) process.stderr.write(`${name}: ${pairCount} pairs on ${threads} threads ...\n`);
  const child = fork(new URL('./phase.ts', import.meta.url), [name, String(pairCount), String(threads)]);
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
  const { data, pairs } = await benchPairs(pairCount);
  return {
    training: rounded(await phase('training')),
    reference: rounded(await phase('reference')),
    pairs: pairs.length,
    threads,
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
