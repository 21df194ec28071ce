import type { MetricPoint, Run } from '@pairwise/api';
import type { Evaluation } from './evaluate.ts';

interface BeforeAfter {
  before: number;
  after: number;
}

/** `summary.json`: the demo's results in figures. */
export interface Summary {
  runId: string;
  traceId: string;
  /** Loss of the first step, and the mean of the last ten. */
  loss: { first: number; last: number };
  /** Measured on held-out pairs. */
  rewardAccuracy: BeforeAfter;
  /** Of llama.cpp's greedy answers to held-out questions. Shares are from 0 to 1. */
  meanResponseTokens: BeforeAfter;
  factsRight: BeforeAfter;
  wellFormed: BeforeAfter;
  /** Reference logps that this run computed, and those that it reused. */
  reference: { computed: number; reused: number };
  /** Largest difference between llama.cpp on the F16 file and the policy, in nats per token. */
  verify: { maxAbsLogpDiff: number; sequences: number };
  /** Paths relative to the demo's folder. */
  artifacts: { path: string; sha256: string; type: string }[];
  seconds: { import: number; reference: number; train: number; export: number; verify: number };
  /** Peak resident memory of all processes together. Pages that several share are counted in each. */
  peakRssMb: number;
}

/** Everything that the summary, the report and the picture are made from. */
export interface Findings {
  run: Run;
  points: readonly MetricPoint[];
  base: Evaluation;
  tuned: Evaluation;
  artifacts: Summary['artifacts'];
  importSeconds: number;
  peakRssMb: number;
}

const lastSteps = 10;

/** The metric points of training steps, without those of evaluations. */
export function trainingPoints(points: readonly MetricPoint[]): MetricPoint[] {
  return points.filter(({ values }) => values['loss'] !== undefined);
}

export function summarise({ run, points, base, tuned, artifacts, importSeconds, peakRssMb }: Findings): Summary {
  const losses = trainingPoints(points).map(({ values }) => values['loss']!);
  const accuracies = points.flatMap(({ values }) => values['eval_rewards/accuracies'] ?? []);
  const { outputs, name, traceId } = run;
  const { verification } = outputs!.artifacts.find(({ type, format }) => format === 'gguf' && type === 'F16')!;
  const compared = (figure: 'meanResponseTokens' | 'factsRight' | 'wellFormed') => ({
    before: base.figures.greedy[figure],
    after: tuned.figures.greedy[figure],
  });
  return {
    runId: name.split('/').at(-1)!,
    traceId,
    loss: { first: losses[0]!, last: mean(losses.slice(-lastSteps)) },
    rewardAccuracy: { before: accuracies[0]!, after: accuracies.at(-1)! },
    meanResponseTokens: compared('meanResponseTokens'),
    factsRight: compared('factsRight'),
    wellFormed: compared('wellFormed'),
    reference: { computed: outputs!.referenceComputedCount, reused: outputs!.referenceReusedCount },
    verify: { maxAbsLogpDiff: verification!.maxAbsLogpDiff, sequences: verification!.sequenceCount },
    artifacts,
    seconds: {
      import: importSeconds,
      reference: stageSeconds(run, 'reference'),
      train: stageSeconds(run, 'train'),
      export: stageSeconds(run, 'export'),
      verify: stageSeconds(run, 'verify'),
    },
    peakRssMb: Math.round(peakRssMb),
  };
}

function stageSeconds({ stages }: Run, name: string): number {
  const { startTime, endTime } = stages.find((stage) => stage.name === name)!;
  return (endTime!.getTime() - startTime!.getTime()) / 1000;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Something that the demo must show, and whether it did. */
export interface Target {
  name: string;
  met: boolean;
  value: number;
}

/** Compares what the demo showed with what it must show. Lengths of answers are ratios, after to before. */
export function targets(summary: Summary, { base, tuned }: Pick<Findings, 'base' | 'tuned'>): Target[] {
  const { loss, rewardAccuracy, meanResponseTokens, factsRight, wellFormed, verify } = summary;
  const greedy = meanResponseTokens.after / meanResponseTokens.before;
  const sampled = tuned.figures.sampled.meanResponseTokens / base.figures.sampled.meanResponseTokens;
  return [
    { name: 'the first loss is ln 2 within 1e-4', met: Math.abs(loss.first - Math.LN2) < 1e-4, value: loss.first },
    { name: 'the mean of the last ten losses is below 0.45', met: loss.last < 0.45, value: loss.last },
    { name: 'reward accuracy is at least 0.9', met: rewardAccuracy.after >= 0.9, value: rewardAccuracy.after },
    { name: 'greedy answers have at most 0.3 of the tokens', met: greedy <= 0.3, value: greedy },
    { name: 'sampled answers have at most 0.3 of the tokens', met: sampled <= 0.3, value: sampled },
    { name: 'before, at least 0.9 of the facts are right', met: factsRight.before >= 0.9, value: factsRight.before },
    { name: 'after, at least 0.9 of the facts are right', met: factsRight.after >= 0.9, value: factsRight.after },
    { name: 'at least 0.97 of the answers are well formed', met: wellFormed.after >= 0.97, value: wellFormed.after },
    {
      name: 'llama.cpp differs by less than 0.02 nats per token',
      met: verify.maxAbsLogpDiff < 0.02,
      value: verify.maxAbsLogpDiff,
    },
  ];
}
