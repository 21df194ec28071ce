import { TrainingState, type Run, type Training } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { errorOf } from '@pairwise/rpc';
import type { Driver } from '../driver.ts';
import { checkPin, idOf, outputsOf, parentOf, progress, resolvedSpecOf } from '../run.ts';

/** Trains the policy, copying the metric points into the run's log as they come. */
export async function train(driver: Driver, run: Run, signal: AbortSignal): Promise<void> {
  const { name } = await start(driver, run);
  const ended = await watch(driver, run.name, name, signal);
  if (ended.error !== undefined) throw errorOf(ended.error);
  if (ended.state === TrainingState.CANCELLED) throw new PairwiseError('CANCELLED', `${name} was cancelled`);
  const { checkpoint } = await driver.peers.training.getCheckpoint({ name: ended.latestCheckpoint }, { signal });
  await driver.runs.change(run.name, (changing) => {
    outputsOf(changing).checkpoint = checkpoint!.name;
    outputsOf(changing).adapterDigest = checkpoint!.adapterDigest;
    return [{ type: 'training.finished', stage: 'train', message: `The last checkpoint is ${checkpoint!.name}.` }];
  });
}

async function start({ peers, runs, patienceMs }: Driver, run: Run): Promise<Training> {
  const { model, encoding, evalEncoding, coverage, evalCoverage } = outputsOf(run);
  const spec = resolvedSpecOf(run);
  const evaluation =
    spec.evaluation?.$case === 'evalDatasetVersion'
      ? { $case: 'evalEncoding' as const, value: evalEncoding }
      : spec.evaluation;
  const inputs = { model, encoding, evaluation, coverage, evalCoverage, spec: spec.training };
  const request = { parent: parentOf(run), trainingId: idOf(run), ...inputs };
  // Noted before it is begun, and begun whatever happens meanwhile, so that a cancellation finds it.
  await runs.change(run.name, (changing) => {
    outputsOf(changing).training = `${parentOf(run)}/trainings/${idOf(run)}`;
    return [];
  });
  const { training } = await peers.training.startTraining(request, { deadline: new Date(Date.now() + patienceMs) });
  const { numericsProfile, engineVersion } = training!;
  checkPin(spec.pins?.numericsProfile, numericsProfile, 'numerics_profile');
  checkPin(spec.pins?.engineVersion, engineVersion, 'engine_version');
  await runs.change(run.name, (changing) => {
    changing.resolvedSpec = { ...spec, pins: { ...spec.pins!, numericsProfile, engineVersion } };
    return [];
  });
  return training!;
}

/** Follows the stream of a training to its end; what the run has already is not sent again. */
async function watch({ runs, peers }: Driver, runName: string, name: string, signal: AbortSignal): Promise<Training> {
  const afterSequence = await runs.metricsSequence(runName);
  for await (const { payload, sequence } of peers.training.watchTraining({ name, afterSequence }, { signal })) {
    if (payload?.$case === 'metrics') {
      await runs.addMetrics(runName, sequence, payload.value);
    } else if (payload?.$case === 'training') {
      const training = payload.value;
      const { step, stepCount } = training;
      await runs.change(runName, (changing) => progress(changing, 'train', step, stepCount, 'steps'));
      if (hasEnded(training)) return training;
    }
  }
  throw new PairwiseError('UNAVAILABLE', `the watch of ${name} ended before the training did`);
}

function hasEnded({ state }: Training): boolean {
  return state === TrainingState.SUCCEEDED || state === TrainingState.FAILED || state === TrainingState.CANCELLED;
}
