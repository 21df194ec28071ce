import { Progress, RunOutputs, type Run, type RunSpec, type Stage } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import type { Happening, StageName } from './runs.ts';

/** `projects/{project}` of a run. */
export function parentOf({ name }: Run): string {
  return name.split('/').slice(0, 2).join('/');
}

/** Last segment of a run's name. */
export function idOf({ name }: Run): string {
  return name.split('/').at(-1) ?? '';
}

/** One stage of a run. */
export function stageOf(run: Run, name: StageName): Stage {
  const stage = run.stages.find((candidate) => candidate.name === name);
  if (stage === undefined) throw new PairwiseError('INTERNAL', `the run has no stage ${name}`);
  return stage;
}

/** The resolved spec, which every stored run has. */
export function resolvedSpecOf({ resolvedSpec }: Run): RunSpec {
  if (resolvedSpec === undefined) throw new PairwiseError('INTERNAL', 'the run has no resolved spec');
  return resolvedSpec;
}

/** The run's outputs, to be read or altered. */
export function outputsOf(run: Run): RunOutputs {
  run.outputs ??= RunOutputs.create({});
  return run.outputs;
}

/** Notes how far a stage has come. Undefined, which changes nothing, where that is known. */
export function progress(
  run: Run,
  stage: StageName,
  completed: number,
  total: number,
  unit: string,
): Happening[] | undefined {
  const before = stageOf(run, stage).progress;
  const now = Progress.create({ completedCount: BigInt(completed), totalCount: BigInt(total), unit });
  if (before?.completedCount === now.completedCount && before.totalCount === now.totalCount) return undefined;
  stageOf(run, stage).progress = now;
  return [];
}

/** Refuses a run whose inputs are not those that its spec was pinned to. An empty pin holds nothing. */
export function checkPin(pinned: string | undefined, actual: string, pin: string): void {
  if (pinned === undefined || pinned === '' || pinned === actual) return;
  const field = `spec.pins.${pin}`;
  const message = `${field} is ${pinned}, but it is ${actual} now; leave pins out to run on what there is`;
  throw new PairwiseError('DIGEST_MISMATCH', message, { field });
}
