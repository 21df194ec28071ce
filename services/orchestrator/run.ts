import { Progress, RunOutputs, StageState, type Run, type Stage } from '@pairwise/api';
import type { Change } from '@pairwise/database';
import { PairwiseError } from '@pairwise/errors';

/** The stages of every run, in order. */
export const stageNames = ['validate', 'reference', 'train', 'export', 'verify'] as const;
export type StageName = (typeof stageNames)[number];

/** The run's project, `projects/{project}`. */
export function parentOf({ name }: Run): string {
  return name.split('/').slice(0, 2).join('/');
}

/** The run's id: the part of its name after `runs/`. */
export function idOf({ name }: Run): string {
  return name.split('/').at(-1) ?? '';
}

/** One stage of a run. Altering it alters the run. */
export function stageOf(run: Run, name: StageName): Stage {
  const stage = run.stages.find((candidate) => candidate.name === name);
  if (stage === undefined) throw new PairwiseError('INTERNAL', `the run has no stage ${name}`);
  return stage;
}

/** The run's outputs. Altering them alters the run. */
export function outputsOf(run: Run): RunOutputs {
  run.outputs ??= RunOutputs.create({});
  return run.outputs;
}

/** How far a stage has come, such as 3 of 10 `steps`. */
export interface StageProgress {
  completed: number;
  total: number;
  unit: string;
}

/** Sets how far a stage has come. */
export function setProgress(run: Run, name: StageName, { completed, total, unit }: StageProgress): Change {
  const stage = stageOf(run, name);
  const before = stage.progress;
  const now = Progress.create({ completedCount: BigInt(completed), totalCount: BigInt(total), unit });
  if (before?.completedCount === now.completedCount && before.totalCount === now.totalCount) return 'unchanged';
  stage.progress = now;
  return 'changed';
}

/**
 * The stages of a run that is about to start or to be retried: stages that succeeded are kept. Export and verify work on
 * one resource, so an export is kept only if it was verified as well.
 */
export function pendingStages(stages: readonly Stage[] = []): Stage[] {
  const succeeded = (name: StageName) => stages.some((it) => it.name === name && it.state === StageState.SUCCEEDED);
  return stageNames.map((name) => {
    const before = stages.find((stage) => stage.name === name);
    if (before !== undefined && succeeded(name) && (name !== 'export' || succeeded('verify'))) return before;
    const state = StageState.PENDING;
    return { name, state, startTime: undefined, endTime: undefined, progress: undefined, error: undefined };
  });
}
