import { ExportTarget, ModelSource, RunSpec, TrainingSpec, TruncationMode } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { refuseLongList, refuseUnknownFields } from '@pairwise/rpc';
import { resolveHyperparameters } from '@pairwise/training';

export const ggufTypes = ['F32', 'F16', 'BF16', 'Q8_0', 'Q4_K_M'] as const;
const mergedTypes = ['F32', 'F16', 'BF16'] as const;
/** Most export targets of a run, as `StartExport` has it. */
const maxTargets = 32;

/**
 * The spec with every default filled in, as far as it can be told without looking at data or model.
 * Resolving a resolved spec changes nothing. Throws INVALID_ARGUMENT and UNKNOWN_FIELD with the field's path.
 */
export function resolveSpec(spec: RunSpec): RunSpec {
  refuseLongList(spec.exportTargets, maxTargets, 'spec.export_targets');
  refuseUnknownFields(spec, 'spec');
  return RunSpec.create({
    model: resolveModel(spec.model),
    datasetVersion: versionName(spec.datasetVersion, 'spec.dataset_version'),
    evaluation: resolveEvaluation(spec.evaluation),
    training: resolveTraining(spec.training),
    exportTargets: resolveTargets(spec.exportTargets),
    pins: spec.pins,
  });
}

function refuse(field: string, problem: string): never {
  throw new PairwiseError('INVALID_ARGUMENT', `${field} ${problem}`, { field });
}

function resolveModel(model: ModelSource | undefined): ModelSource {
  const source = model?.source;
  if (source === undefined) refuse('spec.model', 'is not set; give hub, uri or model');
  if (source.$case === 'hub') {
    if (!/^[\w.-]+\/[\w.-]+$/.test(source.value.repoId)) {
      refuse('spec.model.hub.repo_id', `is '${source.value.repoId}'; it must be organisation/name`);
    }
    return { source: { $case: 'hub', value: { ...source.value, revision: source.value.revision ?? 'main' } } };
  }
  if (source.value === '') refuse(`spec.model.${source.$case}`, 'is empty');
  return { source };
}

function versionName(name: string, field: string): string {
  if (/^projects\/[^/]+\/datasets\/[^/]+\/versions\/[1-9]\d*$/.test(name)) return name;
  return refuse(field, `is '${name}'; it must be projects/{project}/datasets/{dataset}/versions/{number}`);
}

function resolveEvaluation(evaluation: RunSpec['evaluation']): RunSpec['evaluation'] {
  if (evaluation?.$case === 'evalDatasetVersion') {
    return { $case: 'evalDatasetVersion', value: versionName(evaluation.value, 'spec.eval_dataset_version') };
  }
  if (evaluation?.$case !== 'evalFraction') return undefined;
  const { value } = evaluation;
  if (!(value >= 0 && value < 1)) refuse('spec.eval_fraction', `is ${value}; it must be at least 0 and below 1`);
  return evaluation;
}

function resolveTraining(training: TrainingSpec | undefined): TrainingSpec {
  const given = training?.truncationMode ?? TruncationMode.UNSPECIFIED;
  return TrainingSpec.create({
    ...resolveHyperparameters(training ?? {}, 'spec.training'),
    truncationMode: given === TruncationMode.UNSPECIFIED ? TruncationMode.REFUSE : given,
  });
}

function resolveTargets(targets: readonly ExportTarget[]): ExportTarget[] {
  const defaults: ExportTarget[] = [
    ExportTarget.create({ format: { $case: 'adapter', value: {} } }),
    ExportTarget.create({ format: { $case: 'gguf', value: { type: 'F16' } } }),
  ];
  const resolved = (targets.length === 0 ? defaults : targets).map(resolveTarget);
  const names = new Set<string>();
  for (const [index, { name }] of resolved.entries()) {
    if (names.has(name)) {
      refuse(`spec.export_targets[${index}].name`, `is '${name}', like an earlier target's; give each its own name`);
    }
    names.add(name);
  }
  return resolved;
}

function resolveTarget(target: ExportTarget, index: number): ExportTarget {
  const path = `spec.export_targets[${index}]`;
  const { format } = target;
  if (format === undefined) refuse(path, 'has no format; give gguf, adapter or merged');
  const type = format.$case === 'gguf' ? format.value.type : format.$case === 'merged' ? format.value.dtype : undefined;
  const known: readonly string[] = format.$case === 'gguf' ? ggufTypes : mergedTypes;
  if (type !== undefined && !known.includes(type)) {
    const field = `${path}.${format.$case === 'gguf' ? 'gguf.type' : 'merged.dtype'}`;
    refuse(field, `is '${type}'; it must be one of ${known.join(', ')}`);
  }
  const name = target.name || [format.$case, type].flatMap((part) => part ?? []).join('-');
  const label = name.toLowerCase().replaceAll('_', '-');
  if (!/^[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])?$/.test(label) || (target.name !== '' && label !== target.name)) {
    refuse(`${path}.name`, `is '${name}'; it must be a DNS label: a-z, 0-9 and -, at most 50 characters`);
  }
  return { ...target, name: label };
}
