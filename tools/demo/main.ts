import { appendFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Artifact } from '@pairwise/api';
import { connect, type Services } from 'pairwise/connection';
import { paint, say, formatTable } from 'pairwise/output';
import { startPlatform, type Platform } from 'pairwise/up/platform';
import { runSummary } from 'pairwise/watch/summary';
import type { HeldOutQuestion } from './conversations.ts';
import { downloadArtifact, exportBase, importPairsFile, startRun, showRun } from './drive.ts';
import { evaluate, type Evaluation } from './evaluate.ts';
import { watchMemory } from './memory.ts';
import { picture } from './picture.ts';
import { reportPage } from './report.ts';
import { summarise, targets, type Findings } from './summary.ts';

// npm run demo: runs the whole platform on examples/, and so teaches a small chat model to answer briefly.

const examples = resolve(import.meta.dirname, '../../examples');
const root = resolve('pairwise-demo');
const stop = new AbortController();
process.once('SIGINT', () => stop.abort(new Error('stopped by Ctrl-C')));
process.once('SIGTERM', () => stop.abort(new Error('stopped by SIGTERM')));

mkdirSync(root, { recursive: true });
const log = join(root, 'platform.log');
writeFileSync(log, '');
say(`Starting the platform; its log is ${log}`);
const undo = new AsyncDisposableStack();
try {
  const platform = await startPlatform({
    dataFolder: join(root, 'platform'),
    address: '127.0.0.1:0',
    modelRoots: [examples],
    log: (line) => appendFileSync(log, `${JSON.stringify(line)}\n`),
    signal: stop.signal,
  });
  undo.defer(() => platform.stop());
  const services = connect({ address: platform.address });
  undo.defer(() => services.close());
  process.exitCode = (await demonstrate(platform, services)) ? 0 : 1;
} catch (error) {
  if (!stop.signal.aborted) throw error;
  say(`\n${(stop.signal.reason as Error).message}`);
  process.exitCode = 130;
} finally {
  await undo.disposeAsync();
}

/** Runs the demo and writes its files. Returns whether it met all targets. */
async function demonstrate(platform: Platform, services: Services): Promise<boolean> {
  const { signal } = stop;
  const peakMemory = watchMemory(platform);
  const began = performance.now();
  say('Importing 1,000 preference pairs and 100 held-out ones');
  const pairs = (id: string, file: string) => importPairsFile(services, id, join(examples, 'data', file), signal);
  const datasetVersion = await pairs('concise', 'train.jsonl');
  const heldOut = await pairs('concise-held-out', 'eval.jsonl');
  const importSeconds = (performance.now() - began) / 1000;
  const { name } = await startRun(services, { model: join(examples, 'model'), datasetVersion, heldOut });
  const { run, points } = await showRun(services, name, signal);
  say(`\n${runSummary(run, points, process.stdout.isTTY ? process.stdout.columns : 100)}\n`);

  const base = await exportBase(services, run, signal);
  const peakRssMb = peakMemory();
  const artifacts = await download(services, run.outputs!.artifacts);
  await downloadArtifact(services, base, { root, folder: 'base', signal });
  const questions = readQuestions();
  say(`llama.cpp answers ${questions.length} held-out questions with both models, by greedy decoding and by sampling`);
  const ggufOf = (paths: readonly string[]) =>
    join(
      root,
      paths.find((path) => path.endsWith('.gguf'))!,
    );
  const [before, after] = await Promise.all([
    evaluate(ggufOf(base.files.map(({ path }) => join('base', path))), questions, signal),
    evaluate(ggufOf(artifacts.map(({ path }) => path)), questions, signal),
  ]);
  return conclude({ run, points, base: before, tuned: after, artifacts, importSeconds, peakRssMb }, questions);
}

/** Downloads the GGUF file and its Modelfile into the demo's folder, and the adapter below it, replacing older ones. */
async function download(services: Services, artifacts: readonly Artifact[]): Promise<Findings['artifacts']> {
  for (const name of readdirSync(root)) {
    if (/^(.*\.gguf|Modelfile|adapter|base)$/.test(name)) rmSync(join(root, name), { recursive: true });
  }
  const files: Findings['artifacts'] = [];
  for (const artifact of artifacts) {
    const folder = artifact.format === 'gguf' ? '.' : artifact.format;
    files.push(...(await downloadArtifact(services, artifact, { root, folder, signal: stop.signal })));
  }
  return files;
}

function readQuestions(): HeldOutQuestion[] {
  const lines = readFileSync(join(examples, 'data/questions.jsonl'), 'utf8').trimEnd().split('\n');
  return lines.map((line) => JSON.parse(line) as HeldOutQuestion);
}

function conclude(findings: Findings, questions: readonly HeldOutQuestion[]): boolean {
  const { base, tuned } = findings;
  const summary = summarise(findings);
  const checks = targets(summary, findings);
  writeFileSync(join(root, 'summary.json'), `${JSON.stringify(summary, null, 2)}\n`);
  writeFileSync(join(root, 'report.html'), reportPage(summary, findings, questions, checks));
  writeFileSync(join(root, 'picture.svg'), picture(summary, findings, questions));
  say(`\n${comparison(base, tuned)}\n`);
  for (const [index, { question }] of questions.slice(0, 3).entries()) {
    say(`${paint('bold', question)}\n  before  ${base.greedy[index]!.text}\n  after   ${tuned.greedy[index]!.text}`);
  }
  say();
  for (const { name, met, value } of checks) {
    say(`${met ? paint('green', '✔') : paint('red', '✖')} ${name}: ${Number(value.toPrecision(4))}`);
  }
  say(`\n${root} contains report.html, summary.json, the .gguf file and its Modelfile`);
  return checks.every(({ met }) => met);
}

function comparison(base: Evaluation, tuned: Evaluation): string {
  const percent = (share: number) => `${(share * 100).toFixed(1)} %`;
  const row = (title: string, of: (evaluation: Evaluation) => string) => [title, of(base), of(tuned)];
  return formatTable(
    ['ANSWERS', 'BEFORE', 'AFTER'],
    [
      row('tokens, greedy', ({ figures }) => figures.greedy.meanResponseTokens.toFixed(1)),
      row('tokens, sampled', ({ figures }) => figures.sampled.meanResponseTokens.toFixed(1)),
      row('facts right, greedy', ({ figures }) => percent(figures.greedy.factsRight)),
      row('facts right, sampled', ({ figures }) => percent(figures.sampled.factsRight)),
      row('well formed, greedy', ({ figures }) => percent(figures.greedy.wellFormed)),
      row('well formed, sampled', ({ figures }) => percent(figures.sampled.wellFormed)),
    ],
  );
}
