import { RunState, StageState, type Run } from '@pairwise/api';
import { work, type Attempt } from '@pairwise/durable';
import { PairwiseError } from '@pairwise/errors';
import { statusOf } from '@pairwise/rpc';
import type { Driver, StageWork } from './driver.ts';
import { stageOf } from './run.ts';
import { hasEnded, type StageName } from './runs.ts';
import { cancelPeers } from './stages/cancel.ts';
import { exportArtifacts, verify } from './stages/export.ts';
import { reference } from './stages/reference.ts';
import { train } from './stages/train.ts';
import { validate } from './stages/validate.ts';

/** One attempt of a run, as it lies in the queue. */
export const runWork = work<{ name: string }>('run', 'runs');

/** The id of the work of a run's attempt. */
export function workId({ uid, attempt }: Run): string {
  return `run/${uid}/${attempt}`;
}

const stages: [StageName, StageWork][] = [
  ['validate', validate],
  ['reference', reference],
  ['train', train],
  ['export', exportArtifacts],
  ['verify', verify],
];

/** Takes a run through its stages, each a durable step. */
export async function driveRun(driver: Driver, name: string, { step }: Attempt): Promise<void> {
  try {
    for (const [stage, stageWork] of stages) {
      await step(stage, (signal) => inStage(driver, name, stage, stageWork, signal));
    }
    await step('succeed', () => succeed(driver, name));
  } catch (error) {
    await step('fail', (signal) => fail(driver, name, error, signal), { evenIfCancelled: true });
  }
}

async function inStage(driver: Driver, name: string, stage: StageName, stageWork: StageWork, signal: AbortSignal) {
  const run = await driver.runs.change(name, (changing) => {
    const own = stageOf(changing, stage);
    if (own.state === StageState.SUCCEEDED || own.state === StageState.RUNNING) return undefined;
    own.state = StageState.RUNNING;
    own.startTime = new Date();
    if (changing.state === RunState.QUEUED) changing.state = RunState.RUNNING;
    return [{ type: 'stage.started', stage, message: `The stage ${stage} began.` }];
  });
  if (stageOf(run, stage).state === StageState.SUCCEEDED) return;
  await stageWork(driver, run, signal);
  await driver.runs.change(name, (changing) => {
    const own = stageOf(changing, stage);
    own.state = StageState.SUCCEEDED;
    own.endTime = new Date();
    return [{ type: 'stage.succeeded', stage, message: `The stage ${stage} succeeded.` }];
  });
}

const cancellation = { type: 'run.cancelled', message: 'The run was cancelled.' };

async function succeed({ runs }: Driver, name: string) {
  await runs.change(name, (run) => {
    if (hasEnded(run)) return undefined;
    run.state = RunState.SUCCEEDED;
    run.endTime = new Date();
    return [{ type: 'run.succeeded', message: 'The run succeeded.' }];
  });
}

async function fail(driver: Driver, name: string, error: unknown, signal: AbortSignal) {
  const reason = error instanceof PairwiseError ? error.reason : 'INTERNAL';
  const cancelled = reason === 'CANCELLED';
  // Whatever ended the run: nobody waits any more for what it has under way. Unless that has its name, but is another's.
  const left = reason === 'ALREADY_EXISTS' ? [] : await cancelPeers(driver, await driver.runs.get(name), signal);
  const status = statusOf(error);
  await driver.runs.change(name, (run) => {
    if (hasEnded(run)) return undefined;
    run.state = cancelled ? RunState.CANCELLED : RunState.FAILED;
    run.endTime = new Date();
    run.error = cancelled ? undefined : status;
    const stage = run.stages.find(({ state }) => state === StageState.RUNNING);
    if (stage !== undefined) {
      stage.state = cancelled ? StageState.CANCELLED : StageState.FAILED;
      stage.endTime = run.endTime;
      stage.error = run.error;
    }
    return [...left, cancelled ? cancellation : { type: 'run.failed', message: status.message }];
  });
}
