import type { Artifact, MetricPoint, QuantizationCost, QuantizedFigures, Run } from '@pairwise/api';
import { decidingFigure } from '@pairwise/rpc';
import { fields, formatBytes, formatCount, paint, formatTable } from '../output.ts';
import { pairsSummary } from '../refused.ts';
import { beside, chart } from './chart.ts';
import { formatFigure, isEvaluation } from './figures.ts';

/** Charts of loss and reward margin over the steps, side by side if the terminal is wide enough. */
function curves(points: readonly MetricPoint[], columns: number): string {
  const training = points.filter((point) => !isEvaluation(point) && point.step > 0);
  if (training.length < 3) return '';
  const valuesOf = (name: string) => training.flatMap(({ values }) => values[name] ?? []);
  const width = Math.min(40, Math.floor((columns - 24) / 2));
  const narrow = width < 15;
  const own = narrow ? Math.max(10, columns - 12) : width;
  const loss = chart({ title: 'loss', values: valuesOf('loss') }, own, 5);
  const margin = chart({ title: 'reward margin', values: valuesOf('rewards/margins') }, own, 5);
  return (narrow ? [...loss, ...margin] : beside(loss, margin)).join('\n');
}

const compared = [
  ['loss', 'eval_loss'],
  ['reward accuracy', 'eval_rewards/accuracies'],
  ['reward margin', 'eval_rewards/margins'],
  ['logps of chosen', 'eval_logps/chosen'],
  ['logps of rejected', 'eval_logps/rejected'],
] as const;

/** Metrics on held-out pairs, before and after training. */
function evaluation(points: readonly MetricPoint[]): string {
  const evaluations = points.filter(isEvaluation);
  const [before, after] = [evaluations[0], evaluations.at(-1)];
  if (before === undefined || after === undefined || before === after) return '';
  const rows = compared.flatMap(([title, name]) =>
    after.values[name] === undefined
      ? []
      : [[title, formatFigure(before.values[name]), formatFigure(after.values[name])]],
  );
  return formatTable(['HELD-OUT PAIRS', 'BEFORE', 'AFTER'], rows);
}

/**
 * The artifacts of a run, with the figure that decides whether each is the policy in llama.cpp. Below it is what quantising
 * costs, and the caveats: what llama.cpp or Ollama does differently from training.
 */
export function artifactTable(artifacts: readonly Artifact[]): string {
  const rows = artifacts.map((artifact) => [
    idOf(artifact),
    [artifact.format, artifact.type].filter((text) => text !== '').join(' '),
    artifact.files.length === 1 ? artifact.files[0]!.path : `${artifact.files.length} files`,
    formatBytes(artifact.files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0n)),
    figureText(artifact),
  ]);
  const caveats = artifacts.flatMap((artifact) =>
    artifact.caveats.map((caveat) => `${paint('yellow', '!')} ${idOf(artifact)}: ${caveat}`),
  );
  const table = formatTable(['ARTIFACT', 'FORMAT', 'FILES', 'SIZE', 'IN LLAMA.CPP'], rows);
  const quantised = artifacts.flatMap(quantisedRows);
  const costs = ['QUANTISED', 'KL DIVERGENCE', 'TOP-1', 'MEAN DIFFERENCE', 'MARGIN', 'ACCURACY'];
  return [
    table,
    ...(quantised.length === 0 ? [] : ['', formatTable(costs, quantised)]),
    ...(caveats.length === 0 ? [] : ['', ...caveats]),
  ].join('\n');
}

/** What quantising an artifact costs, and below it what that costs the base model. */
function quantisedRows(artifact: Artifact): string[][] {
  const cost = artifact.verification?.quantizationCost;
  const row = (title: string, figures: QuantizedFigures | undefined, whole?: QuantizationCost) => [
    title,
    formatFigure(figures?.klDivergence),
    percent(figures?.top1Agreement),
    formatFigure(figures?.meanAbsLogpDiff),
    kept(formatFigure(figures?.margin), formatFigure(whole?.margin)),
    kept(percent(figures?.accuracy), percent(whole?.accuracy)),
  ];
  return cost === undefined ? [] : [row(idOf(artifact), cost.policy, cost), row('  its base model', cost.base)];
}

function kept(part: string, whole: string): string {
  return whole === '' ? part : `${part} of ${whole}`;
}

function percent(share: number | undefined): string {
  return share === undefined ? '' : `${(100 * share).toFixed(1)}%`;
}

const idOf = ({ name }: Artifact) => name.split('/').at(-1)!;

function figureText(artifact: Artifact): string {
  const figure = decidingFigure(artifact);
  if (figure === undefined) return '';
  return `${figure.kind} ${formatFigure(figure.nats)} of at most ${formatFigure(figure.limit)} nats`;
}

/** Summary of a finished run: curves, evaluation, pairs, artifacts. Empty parts are left out. */
export function runSummary(run: Run, points: readonly MetricPoint[], columns: number): string {
  const { outputs } = run;
  const reference =
    outputs === undefined || outputs.referenceComputedCount + outputs.referenceReusedCount === 0
      ? ''
      : `${formatCount(outputs.referenceComputedCount)} computed, ${formatCount(outputs.referenceReusedCount)} reused`;
  const facts = [
    ['reference logps', reference],
    ['adapter', outputs?.adapterDigest ?? ''],
    ['trace', run.traceId],
  ] as const;
  const parts = [
    curves(points, columns),
    evaluation(points),
    pairsSummary(outputs),
    facts.some(([, value]) => value !== '') ? fields(facts) : '',
    outputs === undefined || outputs.artifacts.length === 0 ? '' : artifactTable(outputs.artifacts),
  ];
  return parts
    .filter((part) => part !== '')
    .join(`\n\n`)
    .replaceAll('┤', paint('dim', '┤'));
}
