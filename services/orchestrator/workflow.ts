import { RunState, StageState, type Run } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { statusOf } from '@pairwise/rpc';
import type { Driver } from './driver.ts';
import { refuseCancelled } from './follow.ts';
import { stageOf } from './run.ts';
import { hasEnded, type StageName } from './runs.ts';
import { exportArtifacts, verify } from './stages/export.ts';
import { reference } from './stages/reference.ts';
import { train } from './stages/train.ts';
import { validate } from './stages/validate.ts';

/** Runs `work` in a durable step: once it has ended, a restarted workflow does not begin it again. */
type Step = (name: string, work: () => Promise<void>) => Promise<void>;

/**
 * Takes a run through its stages. Every stage reads what it needs from the run's document and writes what it made there,
 * and every call to a peer is idempotent, so that the stage at hand can be begun again after a crash at any instant.
 */
export async function driveRun(driver: Driver, name: string, step: Step): Promise<void> {
  const stages: [StageName, (driver: Driver, run: Run) => Promise<void>][] = [
    ['validate', validate],
    ['reference', reference],
    ['train', train],
    ['export', exportArtifacts],
    ['verify', verify],
  ];
  try {
    for (const [stage, work] of stages) await step(stage, () => inStage(driver, name, stage, work));
    await step('end', () => succeed(driver, name));
  } catch (error) {
    await step('end', () => fail(driver, name, error));
  }
}

async function inStage(
  driver: Driver,
  name: string,
  stage: StageName,
  work: (driver: Driver, run: Run) => Promise<void>,
) {
  const run = await driver.runs.change(name, (changing) => {
    refuseCancelled(changing);
    const own = stageOf(changing, stage);
    if (own.state === StageState.SUCCEEDED || own.state === StageState.RUNNING) return undefined;
    own.state = StageState.RUNNING;
    own.startTime = new Date();
    changing.state = RunState.RUNNING;
    return [{ type: 'stage.started', stage, message: `The stage ${stage} began.` }];
  });
  if (stageOf(run, stage).state === StageState.SUCCEEDED) return;
  await work(driver, run);
  await driver.runs.change(name, (changing) => {
    const own = stageOf(changing, stage);
    own.state = StageState.SUCCEEDED;
    own.endTime = new Date();
    return [{ type: 'stage.succeeded', stage, message: `The stage ${stage} succeeded.` }];
  });
}

async function succeed({ runs }: Driver, name: string) {
  await runs.change(name, (run) => {
    if (hasEnded(run)) return undefined;
    run.state = RunState.SUCCEEDED;
    run.endTime = new Date();
    return [{ type: 'run.succeeded', message: 'The run succeeded.' }];
  });
}

async function fail({ runs }: Driver, name: string, error: unknown) {
  const cancelled = error instanceof PairwiseError && error.reason === 'CANCELLED';
  const status = statusOf(error);
  await runs.change(name, (run) => {
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
    return [{ type: cancelled ? 'run.cancelled' : 'run.failed', message: status.message }];
  });
}
