/**
 * `npm run bench [-- --model 135m|1b|8b] [--dtype bf16|f32] [--base none|int8|nf4] [--checkpoint cheap|layers] [--long] [--json]`
 * measures speed and memory of training and of the reference pass;
 * `npm run bench -- idle` measures an idle platform, `npm run bench -- export` the exports of a large model.
 * docs/benchmarks.md has results.
 */
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { measureExports } from './export.ts';
import { measureIdle } from './idle.ts';
import { measureModel } from './measureModel.ts';

const {
  values: flags,
  positionals: [subject = 'model'],
} = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'boolean', default: false },
    pairs: { type: 'string', default: '40' },
    long: { type: 'boolean', default: false },
    model: { type: 'string', default: '135m' },
    dtype: { type: 'string', default: 'bf16' },
    base: { type: 'string', default: 'none' },
    checkpoint: { type: 'string', default: 'cheap' },
    threads: { type: 'string', default: String(availableParallelism()) },
    layers: { type: 'string', default: '32' },
    seconds: { type: 'string', default: '30' },
  },
});
const [pairCount, threads] = [wholeNumber('pairs', flags.pairs), wholeNumber('threads', flags.threads)];
const settings = {
  model: oneOf('model', flags.model, ['135m', '1b', '8b']),
  dtype: oneOf('dtype', flags.dtype, ['bf16', 'f32']),
  base: oneOf('base', flags.base, ['none', 'int8', 'nf4']),
  checkpoint: oneOf('checkpoint', flags.checkpoint, ['cheap', 'layers']),
  pairs: flags.long ? ('long' as const) : pairCount,
  threads,
};

function wholeNumber(flag: string, text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  return refuse(flag, text, 'a whole number above 0');
}

function oneOf<Name extends string>(flag: string, text: string, names: readonly Name[]): Name {
  return (
    names.find((name) => name === text) ??
    refuse(flag, text, new Intl.ListFormat('en', { type: 'disjunction' }).format(names))
  );
}

function refuse(flag: string, text: string, wanted: string): never {
  process.stderr.write(`--${flag} is ${text}; it must be ${wanted}\n`);
  process.exit(2);
}

function progress(text: string): void {
  process.stderr.write(`${text}\n`);
}

if (subject === 'idle') {
  const figures = await measureIdle(wholeNumber('seconds', flags.seconds));
  if (flags.json) process.stdout.write(`${JSON.stringify(figures)}\n`);
  else console.table(figures);
} else if (subject === 'export') {
  const figures = await measureExports(wholeNumber('layers', flags.layers), progress);
  if (flags.json) process.stdout.write(`${JSON.stringify(figures)}\n`);
  else console.table(figures.artifacts);
} else {
  const result = await measureModel(settings, progress);
  if (flags.json) process.stdout.write(`${JSON.stringify(result)}\n`);
  else console.table({ training: result.training, reference: result.reference });
}
