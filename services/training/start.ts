import {
  BaseQuantization,
  baseQuantizationToJSON,
  CoverageState,
  Training,
  TrainingState,
  type Model,
  type StartTrainingRequest,
  type TrainingSpec,
} from '@pairwise/api';
import type { Stored } from '@pairwise/database';
import { PairwiseError } from '@pairwise/errors';
import { adaptedModules, type ArchitectureName } from '@pairwise/model';
import {
  inField,
  newId,
  parseName,
  quantizedFile,
  refuseField,
  refuseUnknownFields,
  resolveBaseQuantization,
  resolveActivationCheckpointing,
  resolveTruncationMode,
  type CallOptions,
} from '@pairwise/rpc';
import { checkHeldOutFraction, checkStepCount, engineVersion, resolveHyperparameters } from '@pairwise/training';
import type { Peers } from './peers.ts';
import type { ResolvedTrainingSpec, TrainingRecord } from './trainings/record.ts';
import type { Trainings } from './trainings/trainings.ts';

/** Checks a request and stores its training, or queues it again if it failed or was cancelled. Throws the errors that the API documents. */
export async function startTraining(
  { trainings, peers, numericsProfile }: { trainings: Trainings; peers: Peers; numericsProfile: string },
  request: StartTrainingRequest,
  options: CallOptions,
): Promise<Stored<TrainingRecord>> {
  parseName('projects/{project}', request.parent, 'parent');
  const named = { ...request, trainingId: newId(request.trainingId, 'training', 'training_id') };
  const spec = resolveTrainingSpec(request.spec);
  const { architecture } = await checkInputs(peers, request, spec, options);
  const { value: lora } = spec.tuning;
  const modules = adaptedModules(architecture as ArchitectureName, lora, 'spec.lora.target_modules');
  const pinned: ResolvedTrainingSpec = {
    ...spec,
    tuning: { $case: 'lora', value: { ...lora, targetModules: modules } },
  };
  return trainings.ensure(newTraining(named, pinned, numericsProfile), named);
}

/** Fills in every default. Throws INVALID_ARGUMENT and UNKNOWN_FIELD with the field's path. */
export function resolveTrainingSpec(spec: TrainingSpec | undefined): ResolvedTrainingSpec {
  refuseUnknownFields(spec, 'spec');
  return {
    ...resolveHyperparameters(spec ?? {}, 'spec'),
    truncationMode: resolveTruncationMode(spec?.truncationMode),
    activationCheckpointing: resolveActivationCheckpointing(spec?.activationCheckpointing),
    baseQuantization: resolveBaseQuantization(spec?.baseQuantization),
  };
}

/** A queued training. */
export function newTraining(
  { parent, trainingId }: StartTrainingRequest,
  resolvedSpec: ResolvedTrainingSpec,
  numericsProfile: string,
): Training {
  const now = new Date();
  return Training.create({
    name: `${parent}/trainings/${trainingId}`,
    state: TrainingState.QUEUED,
    createTime: now,
    updateTime: now,
    resolvedSpec,
    numericsProfile,
    engineVersion,
  });
}

/**
 * Returns the model. Refuses inputs that do not exist or are not ready, that make too many steps, or whose reference logps
 * are not all computed.
 */
async function checkInputs(
  peers: Peers,
  { model, encoding: encodingName, evaluation, coverage, evalCoverage }: StartTrainingRequest,
  spec: ResolvedTrainingSpec,
  options: CallOptions,
): Promise<Model> {
  if (evaluation?.$case === 'evalFraction') checkHeldOutFraction(evaluation.value, 'eval_fraction');
  const found = await inField('model', peers.model.getModel({ name: model }, options));
  quantizedFile(found.model!, spec.baseQuantization, 'spec.base_quantization');
  const { encoding } = await inField('encoding', peers.dataset.getEncoding({ name: encodingName }, options));
  // An upper bound: pairs that are held out only make fewer steps.
  checkStepCount(encoding!.pairCount, spec, 'spec');
  await checkCoverage(peers, 'coverage', coverage, spec, options);
  if (evaluation?.$case === 'evalEncoding') {
    await inField('eval_encoding', peers.dataset.getEncoding({ name: evaluation.value }, options));
    await checkCoverage(peers, 'eval_coverage', evalCoverage, spec, options);
  }
  return found.model!;
}

async function checkCoverage(
  peers: Peers,
  field: string,
  name: string,
  { baseQuantization: policy }: ResolvedTrainingSpec,
  options: CallOptions,
): Promise<void> {
  const { coverage } = await inField(field, peers.reference.getCoverage({ name }, options));
  const reference = resolveBaseQuantization(coverage!.baseQuantization);
  if (reference !== BaseQuantization.NONE && reference !== policy) {
    const [own, other] = [policy, reference].map(baseQuantizationToJSON);
    const allowed = [...new Set([own, baseQuantizationToJSON(BaseQuantization.NONE)])].join(' or ');
    const problem = `'${name}' is of ${other}, but spec.base_quantization is ${own}`;
    refuseField(field, `${problem}; call EnsureLogps with ${allowed}`);
  }
  if (coverage!.state === CoverageState.COMPLETE) return;
  const message = `${field}: '${name}' is not complete; call EnsureLogps and wait until it is`;
  throw new PairwiseError('MISSING_LOGPS', message, { field, metadata: { name } });
}
