import { BaseQuantization, TrainingSpec, type DatasetReport, type Model } from '@pairwise/api';
import { enumName, resolveBaseQuantization } from '@pairwise/rpc';
import { baseModelNameOf } from './baseModelName.ts';
import type { Lineage } from './lineage.ts';
import { section, verificationSections, type CardSubject } from './verificationCard.ts';

/** The metrics of a card; those that begin with `eval_` are there if the run had an evaluation set. */
const shownMetrics = ['loss', 'rewards/accuracies', 'rewards/margins', 'rewards/chosen', 'rewards/rejected'].flatMap(
  (name) => [name, `eval_${name}`],
);

/**
 * The README.md of an artifact: a model card as the hub reads it, with front matter. It says what the artifact was made from
 * and how, what the training measured, and what verification did. It has no names of this server and no times, so that equal
 * runs give equal bytes.
 */
export function modelCard(subject: CardSubject, model: Model, lineage: Lineage | undefined): string {
  const { name, revision } = baseModelNameOf(model);
  const { format, type = '' } = subject;
  const what = titles[format]!.replace('{type}', type);
  return [
    ...frontMatter(format, name, revision !== undefined, lineage !== undefined),
    '',
    `# ${lineage ? `${name}, tuned with DPO (${what})` : name}`,
    ...section('Base model', [
      `- name: ${code(name)}${revision === undefined ? '' : `, commit ${code(revision)}`}`,
      `- architecture: ${code(model.architecture)}, ${model.parameterCount} weights, mostly ${code(model.dtype)}`,
      `- digest of its files: ${code(model.digest)}`,
      ...(lineage ? quantizationLines(lineage) : []),
    ]),
    ...(lineage ? trainingSections(lineage) : []),
    ...verificationSections(subject),
    '',
  ].join('\n');
}

/** What each format is, in titles. */
const titles: Record<string, string> = {
  adapter: 'LoRA adapter',
  merged: 'merged model',
  gguf: 'GGUF, {type}',
  gguf_adapter: 'LoRA adapter as GGUF',
};

/** The library that reads each format, by the hub's names. */
const libraries: Record<string, string> = { adapter: 'peft', merged: 'transformers' };

/** The hub links `base_model` if it is a repository. */
function frontMatter(format: string, base: string, isOnHub: boolean, isTrained: boolean): string[] {
  return [
    '---',
    ...(isOnHub ? [`base_model: ${JSON.stringify(base)}`] : []),
    `library_name: ${libraries[format] ?? 'gguf'}`,
    'pipeline_tag: text-generation',
    ...(isTrained ? ['tags:', '- dpo', '- lora'] : []),
    '---',
  ];
}

/** Says so if the adapter was trained on a quantised form of the base model. */
function quantizationLines({ training }: Lineage): string[] {
  const type = resolveBaseQuantization(training.resolvedSpec?.baseQuantization);
  if (type === BaseQuantization.NONE) return [];
  const name = code(enumName(BaseQuantization, type));
  return [`- in training its linear layers were quantised to ${name}; the adapter is applied to its full weights`];
}

function trainingSections({ checkpoint, training, encoding, version, metrics }: Lineage): string[] {
  const rows = shownMetrics.flatMap((name) => {
    const values = metrics.get(name);
    return values ? [`| ${name} | ${shown(values.first)} | ${shown(values.last)} |`] : [];
  });
  const spec = JSON.stringify(TrainingSpec.toJSON(training.resolvedSpec!), null, 2);
  return [
    ...section('Data', [
      ...(version
        ? [
            `- preference pairs: ${version.pairCount}, digest ${code(version.digest)}`,
            `- rows refused at import: ${leftOut(version.report)}`,
          ]
        : []),
      ...(encoding ? [`- pairs encoded: ${encoding.pairCount}; left out: ${leftOut(encoding.report)}`] : []),
      `- used for training: ${training.pairCount}; for evaluation: ${training.evalPairCount}`,
    ]),
    ...section('Training', [
      `Direct Preference Optimization of a LoRA adapter, ${checkpoint.step} of ${training.stepCount} steps.`,
      '',
      '```json',
      spec,
      '```',
      '',
      `- digest of the adapter's weights: ${code(checkpoint.adapterDigest)}`,
      `- numerics: ${code(training.numericsProfile)}, engine version ${code(training.engineVersion)}`,
    ]),
    ...(rows.length === 0 ? [] : section('Metrics', ['| metric | first | last |', '| --- | --- | --- |', ...rows])),
  ];
}

/** How many rows were left out and why, such as `3 (2 TOO_LONG, 1 NOT_REVERSIBLE)`. */
function leftOut(report: DatasetReport | undefined): string {
  const reasons = (report?.refused ?? []).map(({ reason, count }) => `${count} ${reason}`).join(', ');
  return `${report?.refusedCount ?? 0}${reasons === '' ? '' : ` (${reasons})`}`;
}

function code(text: string): string {
  return `\`${text}\``;
}

/** Six digits are the same wherever equal runs are computed. */
function shown(value: number): string {
  return String(Number(value.toPrecision(6)));
}
