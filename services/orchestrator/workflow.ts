import { RunState, StageState, type Run } from '@pairwise/api';
import { work, type Attempt } from '@pairwise/durable';
import { PairwiseError } from '@pairwise/errors';
import { hasEnded, statusOf } from '@pairwise/rpc';
import { stageOf, type StageName } from './run.ts';
import { changed, unchanged } from './runs.ts';
import { cancelPeers } from './stages/cancel.ts';
import { stageContext, type RunDeps, type StageWork } from './stages/context.ts';
import { exportArtifacts, verify } from './stages/export.ts';
import { reference } from './stages/reference.ts';
import { train } from './stages/train.ts';
import { validate } from './stages/validate.ts';

/** The work of one attempt of a run. */
export const runWork = work<{ name: string }>('run', 'runs');

/** The id of the work of a run's attempt. */
export function runWorkId({ uid, attempt }: Run): string {
  return `run/${uid}/${attempt}`;
}

const stages: [StageName, StageWork][] = [
  ['validate', validate],
  ['reference', reference],
  ['train', train],
  ['export', exportArtifacts],
  ['verify', verify],
];

/** Takes a run through its stages, each an activity, and ends it. */
export async function driveRun(deps: RunDeps, name: string, { activity }: Attempt): Promise<void> {
  try {
    for (const [stage, stageWork] of stages) {
      await activity(stage, (signal) => execute(deps, name, stage, stageWork, signal));
    }
    await activity('succeed', () => succeed(deps, name));
  } catch (error) {
    await activity('fail', (signal) => fail(deps, name, error, signal), { evenIfCancelled: true });
  }
}

/** Executes one stage, unless an earlier attempt of the run completed it. */
async function execute(deps: RunDeps, name: string, stage: StageName, stageWork: StageWork, signal: AbortSignal) {
  const run = await deps.runs.change(name, (changing) => {
    const own = stageOf(changing, stage);
    if (own.state === StageState.SUCCEEDED || own.state === StageState.RUNNING) return unchanged;
    own.state = StageState.RUNNING;
    own.startTime = new Date();
    if (changing.state === RunState.QUEUED) changing.state = RunState.RUNNING;
    return changed({ type: 'stage.started', stage, message: `The stage ${stage} started.` });
  });
  if (stageOf(run, stage).state === StageState.SUCCEEDED) return;
  await stageWork(stageContext(deps, run, stage, signal));
  await deps.runs.change(name, (changing) => {
    const own = stageOf(changing, stage);
    own.state = StageState.SUCCEEDED;
    own.endTime = new Date();
    return changed({ type: 'stage.succeeded', stage, message: `The stage ${stage} succeeded.` });
  });
}

async function succeed({ runs }: RunDeps, name: string) {
  await runs.change(name, (run) => {
    if (hasEnded(RunState, run)) return unchanged;
    run.state = RunState.SUCCEEDED;
    run.endTime = new Date();
    return changed({ type: 'run.succeeded', message: 'The run succeeded.' });
  });
}

async function fail(deps: RunDeps, name: string, error: unknown, signal: AbortSignal) {
  const reason = error instanceof PairwiseError ? error.reason : 'INTERNAL';
  const cancelled = reason === 'CANCELLED';
  // Whatever ended the run, nothing needs its work at the peers any more. After ALREADY_EXISTS nothing is cancelled: the
  // resource merely has the run's name and belongs to something else.
  const notStopped = reason === 'ALREADY_EXISTS' ? [] : await cancelPeers(deps, await deps.runs.get(name), signal);
  const status = statusOf(error);
  const end = cancelled
    ? { type: 'run.cancelled', message: 'The run was cancelled.' }
    : { type: 'run.failed', message: status.message };
  await deps.runs.change(name, (run) => {
    if (hasEnded(RunState, run)) return unchanged;
    run.state = cancelled ? RunState.CANCELLED : RunState.FAILED;
    run.endTime = new Date();
    run.error = cancelled ? undefined : status;
    const stage = run.stages.find(({ state }) => state === StageState.RUNNING);
    if (stage !== undefined) {
      stage.state = cancelled ? StageState.CANCELLED : StageState.FAILED;
      stage.endTime = run.endTime;
      stage.error = run.error;
    }
    return changed(...notStopped, end);
  });
}
