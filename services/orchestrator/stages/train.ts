import { TrainingState, type Training } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { errorOf, hasEnded } from '@pairwise/rpc';
import { idOf, outputsOf, parentOf } from '../run.ts';
import { changed } from '../runs.ts';
import { checkPin } from '../spec/pins.ts';
import type { StageContext } from './context.ts';

/** Trains the policy and copies the training's metric points into the run's log as they arrive. */
export async function train(context: StageContext): Promise<void> {
  const { peers, signal, change } = context;
  const { name } = await start(context);
  const ended = await watch(context, name);
  await change((changing) => {
    outputsOf(changing).trainingMemory = ended.memory;
    return changed();
  });
  if (ended.error !== undefined) throw errorOf(ended.error);
  if (ended.state === TrainingState.CANCELLED) throw new PairwiseError('CANCELLED', `${name} was cancelled`);
  const { checkpoint } = await peers.training.getCheckpoint({ name: ended.latestCheckpoint }, { signal });
  await change((changing) => {
    outputsOf(changing).checkpoint = checkpoint!.name;
    outputsOf(changing).adapterDigest = checkpoint!.adapterDigest;
    return changed({
      type: 'training.finished',
      stage: 'train',
      message: `The last checkpoint is ${checkpoint!.name}.`,
    });
  });
}

async function start({ run, spec, peers, change, startDeadline }: StageContext): Promise<Training> {
  const { model, encoding, evalEncoding, coverage, evalCoverage } = outputsOf(run);
  const evaluation =
    spec.evaluation?.$case === 'evalDatasetVersion'
      ? { $case: 'evalEncoding' as const, value: evalEncoding }
      : spec.evaluation;
  const inputs = { model, encoding, evaluation, coverage, evalCoverage, spec: spec.training };
  const request = { parent: parentOf(run), trainingId: idOf(run), ...inputs };
  // The name is stored before the call, which ignores the signal, so that a cancellation always finds the training.
  await change((changing) => {
    outputsOf(changing).training = `${parentOf(run)}/trainings/${idOf(run)}`;
    return changed();
  });
  const { training } = await peers.training.startTraining(request, { deadline: startDeadline() });
  const { numericsProfile, engineVersion } = training!;
  checkPin(spec, 'numericsProfile', numericsProfile);
  checkPin(spec, 'engineVersion', engineVersion);
  await change((changing) => {
    changing.resolvedSpec = { ...spec, pins: { ...spec.pins!, numericsProfile, engineVersion } };
    return changed();
  });
  return training!;
}

/** Follows a training's stream to its end, from the last metric point that the run has. Throws UNAVAILABLE if it stops. */
async function watch({ run, runs, peers, signal, report }: StageContext, name: string): Promise<Training> {
  const afterSequence = await runs.metricsPosition(run.name);
  for await (const { payload, sequence } of peers.training.watchTraining({ name, afterSequence }, { signal })) {
    if (payload?.$case === 'metrics') {
      await runs.addMetrics(run.name, sequence, payload.value);
    } else if (payload?.$case === 'training') {
      const training = payload.value;
      await report({ completed: training.step, total: training.stepCount, unit: 'steps' });
      if (hasEnded(TrainingState, training)) return training;
    }
  }
  throw new PairwiseError('UNAVAILABLE', `the stream of ${name} ended before the training did`);
}
