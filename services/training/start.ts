import {
  CoverageState,
  StartTrainingRequest,
  Training,
  TrainingSpec,
  TrainingState,
  TruncationMode,
} from '@pairwise/api';
import type { Stored } from '@pairwise/database';
import { PairwiseError } from '@pairwise/errors';
import { inField, newId, parseName, refuseUnknownFields, type CallOptions } from '@pairwise/rpc';
import { checkHeldOutFraction, checkStepCount, engineVersion, resolveHyperparameters } from '@pairwise/training';
import type { Peers } from './peers.ts';
import type { TrainingRecord } from './trainings/record.ts';
import type { Trainings } from './trainings/trainings.ts';

/** Checks a request and stores its training, or queues it again if it failed or was cancelled. Throws as the API says. */
export async function startTraining(
  { trainings, peers, numericsProfile }: { trainings: Trainings; peers: Peers; numericsProfile: string },
  request: StartTrainingRequest,
  options: CallOptions,
): Promise<Stored<TrainingRecord>> {
  const { parent, evaluation } = request;
  parseName('projects/{project}', parent, 'parent');
  const id = newId(request.trainingId, 'training', 'training_id');
  refuseUnknownFields(request.spec, 'spec');
  const hyperparameters = resolveHyperparameters(request.spec ?? {}, 'spec');
  if (evaluation?.$case === 'evalFraction') checkHeldOutFraction(evaluation.value, 'eval_fraction');
  await inField('model', peers.model.getModel({ name: request.model }, options));
  const { encoding } = await inField('encoding', peers.dataset.getEncoding({ name: request.encoding }, options));
  // An upper bound: pairs that are held out only make fewer steps.
  checkStepCount(encoding!.pairCount, hyperparameters, 'spec');
  await checkComplete(peers, 'coverage', request.coverage, options);
  if (evaluation?.$case === 'evalEncoding') {
    await inField('eval_encoding', peers.dataset.getEncoding({ name: evaluation.value }, options));
    await checkComplete(peers, 'eval_coverage', request.evalCoverage, options);
  }
  const now = new Date();
  const training = Training.create({
    name: `${parent}/trainings/${id}`,
    state: TrainingState.QUEUED,
    createTime: now,
    updateTime: now,
    resolvedSpec: TrainingSpec.create({ ...hyperparameters, truncationMode: truncationModeOf(request.spec) }),
    numericsProfile,
    engineVersion,
  });
  return trainings.ensure(training, { ...request, trainingId: id });
}

async function checkComplete(peers: Peers, field: string, name: string, options: CallOptions): Promise<void> {
  const { coverage } = await inField(field, peers.reference.getCoverage({ name }, options));
  if (coverage!.state === CoverageState.COMPLETE) return;
  const message = `${field}: '${name}' is not complete; call EnsureLogps and wait until it is`;
  throw new PairwiseError('MISSING_LOGPS', message, { field, metadata: { name } });
}

function truncationModeOf(spec: TrainingSpec | undefined): TruncationMode {
  const given = spec?.truncationMode ?? TruncationMode.UNSPECIFIED;
  return given === TruncationMode.UNSPECIFIED ? TruncationMode.REFUSE : given;
}
