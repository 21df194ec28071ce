import type { Artifact, QuantizationCost, Sample, Verification } from '@pairwise/api';

/** What a card describes. All but the format is set for an artifact that was verified. */
export type CardSubject = Pick<Artifact, 'format'> &
  Partial<Pick<Artifact, 'type' | 'verification' | 'caveats' | 'samples'>>;

/** The sections of a model card about what llama.cpp makes of the artifact. None for an artifact that was not verified. */
export function verificationSections({ verification, caveats = [], samples = [] }: CardSubject): string[] {
  return [
    ...(verification ? section('Verification', verified(verification)) : []),
    ...(caveats.length === 0
      ? []
      : section(
          'Caveats',
          caveats.map((caveat) => `- ${caveat}`),
        )),
    ...(samples.length === 0 ? [] : section('Answers to fixed prompts', answers(samples))),
  ];
}

/** A section of a model card. */
export function section(title: string, lines: readonly string[]): string[] {
  return ['', `## ${title}`, '', ...lines];
}

function verified(verification: Verification): string[] {
  const { sequenceCount, tokenCount, textCount, quantizationCost: cost } = verification;
  const { maxAbsLogpDiff: largest, meanAbsLogpDiff: mean, tolerance } = verification;
  const limit = cost ? '' : `; at most ${shown(tolerance)} is allowed`;
  return [
    'llama.cpp runs this artifact, and is compared with the policy in the training engine:',
    '',
    `- responses: ${sequenceCount}, with ${tokenCount} tokens; texts read with the ids of training: ${textCount}`,
    `- difference of a token's log probability in nats: mean ${shown(mean)}, largest ${shown(largest)}${limit}`,
    ...(cost ? quantized(cost, tolerance) : []),
  ];
}

function quantized({ policy, base, margin, accuracy }: QuantizationCost, limit: number): string[] {
  const row = (name: string, ...values: (number | undefined)[]) => `| ${[name, ...values.map(shown)].join(' | ')} |`;
  const file = (name: string, figures: QuantizationCost['policy']) =>
    row(
      name,
      figures!.klDivergence,
      figures!.top1Agreement,
      figures!.meanAbsLogpDiff,
      figures!.margin,
      figures!.accuracy,
    );
  return [
    `- KL divergence from the file before quantising: ${shown(policy!.klDivergence)} nats per token; at most ${shown(limit)} is allowed`,
    '',
    '| file | KL divergence | top-1 agreement | mean difference | margin | accuracy |',
    '| --- | --- | --- | --- | --- | --- |',
    file('this one', policy),
    file('base model, quantised alike', base),
    row('before quantising', undefined, undefined, undefined, margin, accuracy),
  ];
}

/** Code blocks of JSON, so that an answer is never read as Markdown. */
function answers(samples: readonly Sample[]): string[] {
  return [
    'The most likely token each time, 48 at most.',
    ...samples.flatMap(({ prompt, base, tuned }) => [
      '',
      `    prompt      ${JSON.stringify(prompt)}`,
      ...(base === undefined ? [] : [`    base model  ${JSON.stringify(base)}`]),
      `    tuned       ${JSON.stringify(tuned)}`,
    ]),
  ];
}

/** Three digits are the same on most machines. */
function shown(value: number | undefined): string {
  return value === undefined ? '' : String(Number(value.toPrecision(3)));
}
