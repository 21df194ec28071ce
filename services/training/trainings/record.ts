import {
  ActivationCheckpointing,
  StartTrainingRequest,
  Training,
  TrainingState,
  type BaseQuantization,
  type TruncationMode,
} from '@pairwise/api';
import { fingerprintOf, type Digest, type Recipe } from '@pairwise/fingerprint';
import type { Hyperparameters } from '@pairwise/training';

/** A training as it is stored: the resource, and what else its worker needs. */
export interface TrainingRecord {
  training: Training;
  request: StartTrainingRequest;
  /** How many times the training was started, from 1; part of its work's id. */
  attempt: number;
}

interface RecordJson {
  training: unknown;
  request: unknown;
  attempt: number;
}

/** How a record is stored. */
export const recordCodec = {
  toJSON: ({ training, request, attempt }: TrainingRecord): RecordJson => ({
    training: Training.toJSON(training),
    request: StartTrainingRequest.toJSON(request),
    attempt,
  }),
  fromJSON: ({ training, request, attempt }: RecordJson): TrainingRecord => ({
    training: Training.fromJSON(training),
    request: StartTrainingRequest.fromJSON(request),
    attempt,
  }),
};

/** Whether `StartTraining` queues a training in this state again. */
export function isRestartable(state: TrainingState): boolean {
  return state === TrainingState.FAILED || state === TrainingState.CANCELLED;
}

/** A `TrainingSpec` with every default filled in. A training stores it as `resolved_spec`. */
export interface ResolvedTrainingSpec extends Hyperparameters {
  /** Never UNSPECIFIED. */
  truncationMode: TruncationMode;
  /** UNSPECIFIED only in a training that is older than this field. */
  baseQuantization: BaseQuantization;
  /** AUTO until the worker has planned its memory. UNSPECIFIED only in a training that is older than this field. */
  activationCheckpointing: ActivationCheckpointing;
}

/** The resolved spec of a stored training. */
export function resolvedTrainingSpec({ resolvedSpec }: Training): ResolvedTrainingSpec {
  // `StartTraining` stores nothing but resolved specs.
  return resolvedSpec as ResolvedTrainingSpec;
}

/** The fraction of the pairs that is held out for evaluation, 0 if the evaluation pairs are a dataset of their own. */
export function heldOutFraction({ evaluation }: StartTrainingRequest): number {
  return evaluation?.$case === 'evalFraction' ? evaluation.value : 0;
}

/** Whether two requests start the same training. */
export function sameInputs(a: StartTrainingRequest, b: StartTrainingRequest): boolean {
  return inputsDigest(a) === inputsDigest(b);
}

function inputsDigest(request: StartTrainingRequest): Digest {
  return fingerprintOf(StartTrainingRequest.toJSON(request) as Recipe);
}
