import { ExportTarget, type ModelSource, type RunSpec, type TrainingSpec } from '@pairwise/api';
import {
  refuseField,
  refuseUnknownFields,
  resolveActivationCheckpointing,
  resolveBaseQuantization,
  resolveChatTemplate,
  resolveChatTemplateDate,
  resolveTargets,
  resolveTruncationMode,
} from '@pairwise/rpc';
import { checkHeldOutFraction, resolveHyperparameters } from '@pairwise/training';
import type { ResolvedSource, ResolvedSpec, ResolvedTraining } from './resolved.ts';

const defaultTargets: readonly ExportTarget[] = [
  ExportTarget.create({ format: { $case: 'adapter', value: {} } }),
  ExportTarget.create({ format: { $case: 'gguf', value: { type: 'F16' } } }),
];

/**
 * Fills in every default that does not depend on the data or the model, and checks every field that is given.
 * Resolving a resolved spec changes nothing. Throws INVALID_ARGUMENT and UNKNOWN_FIELD with the field's path.
 */
export function resolveRunSpec(spec: RunSpec): ResolvedSpec {
  const targets = spec.exportTargets.length === 0 ? defaultTargets : spec.exportTargets;
  // First, so that a list that is too long is not searched for unknown fields.
  const exportTargets = resolveTargets(targets, 'spec.export_targets');
  refuseUnknownFields(spec, 'spec');
  return {
    model: resolveModel(spec.model),
    datasetVersion: checkVersionName(spec.datasetVersion, 'spec.dataset_version'),
    evaluation: resolveEvaluation(spec.evaluation),
    training: resolveTraining(spec.training),
    exportTargets,
    pins: spec.pins,
    chatTemplate: resolveChatTemplate(spec.chatTemplate),
    chatTemplateDate: resolveChatTemplateDate(spec.chatTemplateDate, 'spec.chat_template_date'),
  };
}

function resolveModel(model: ModelSource | undefined): ResolvedSource {
  const source = model?.source;
  if (source === undefined) refuseField('spec.model', 'is not set; give hub, uri or model');
  if (source.$case === 'hub') {
    if (!/^[\w.-]+\/[\w.-]+$/.test(source.value.repoId)) {
      refuseField('spec.model.hub.repo_id', `is '${source.value.repoId}'; it must be organisation/name`);
    }
    return { source: { $case: 'hub', value: { ...source.value, revision: source.value.revision ?? 'main' } } };
  }
  if (source.value === '') refuseField(`spec.model.${source.$case}`, 'is empty');
  return { source };
}

function checkVersionName(name: string, field: string): string {
  if (/^projects\/[^/]+\/datasets\/[^/]+\/versions\/[1-9]\d*$/.test(name)) return name;
  return refuseField(field, `is '${name}'; it must be projects/{project}/datasets/{dataset}/versions/{number}`);
}

function resolveEvaluation(evaluation: RunSpec['evaluation']): RunSpec['evaluation'] {
  if (evaluation?.$case === 'evalDatasetVersion') {
    return { $case: 'evalDatasetVersion', value: checkVersionName(evaluation.value, 'spec.eval_dataset_version') };
  }
  if (evaluation?.$case !== 'evalFraction') return undefined;
  checkHeldOutFraction(evaluation.value, 'spec.eval_fraction');
  return evaluation;
}

function resolveTraining(training: TrainingSpec | undefined): ResolvedTraining {
  return {
    ...resolveHyperparameters(training ?? {}, 'spec.training'),
    truncationMode: resolveTruncationMode(training?.truncationMode),
    activationCheckpointing: resolveActivationCheckpointing(training?.activationCheckpointing),
    baseQuantization: resolveBaseQuantization(training?.baseQuantization),
  };
}
