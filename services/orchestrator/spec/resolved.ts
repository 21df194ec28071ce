import type {
  ActivationCheckpointing,
  BaseQuantization,
  ModelSource,
  Run,
  RunSpec,
  TruncationMode,
} from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import type { ResolvedTarget } from '@pairwise/rpc';
import type { Hyperparameters } from '@pairwise/training';

/** A `RunSpec` with every default filled in. A run stores it as `resolved_spec`, and its stages read it. */
export interface ResolvedSpec extends RunSpec {
  model: ResolvedSource;
  training: ResolvedTraining;
  /** At least one, each with a name of its own. */
  exportTargets: ResolvedTarget[];
}

/** A source that is set; one on the hub names a revision. */
export interface ResolvedSource extends ModelSource {
  source: NonNullable<ModelSource['source']>;
}

/**
 * Every hyperparameter. Until `validate` pins what the model has, `maxLength` is what the caller gave or 1024, and the target
 * modules of `all-linear` are those of all models.
 */
export interface ResolvedTraining extends Hyperparameters {
  /** Never UNSPECIFIED. */
  truncationMode: TruncationMode;
  /** UNSPECIFIED only in a run that is older than this field. */
  baseQuantization: BaseQuantization;
  /** AUTO until `validate` has planned the memory. UNSPECIFIED only in a run that is older than this field. */
  activationCheckpointing: ActivationCheckpointing;
}

/** The resolved spec of a stored run. */
export function resolvedRunSpec({ resolvedSpec }: Run): ResolvedSpec {
  if (resolvedSpec === undefined) throw new PairwiseError('INTERNAL', 'the run has no resolved spec');
  // `CreateRun` stores nothing but what `resolveRunSpec` returned.
  return resolvedSpec as ResolvedSpec;
}
