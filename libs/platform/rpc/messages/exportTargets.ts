import type { Artifact, ExportTarget } from '@pairwise/api';
import { fileTypes, type GgufType } from '@pairwise/gguf';
import { refuseField } from './field.ts';
import { refuseLongList } from './lists.ts';
import { newId } from './names.ts';
import { refuseUnknownFields } from './unknown.ts';

/** The types of a GGUF file. */
const ggufTypes = Object.keys(fileTypes) as GgufType[];

/** The dtypes of a merged model. */
const mergedTypes = ['F32', 'F16', 'BF16'] as const;
type MergedType = (typeof mergedTypes)[number];

/** A target whose format and name are set. */
export interface ResolvedTarget extends ExportTarget {
  format: NonNullable<ExportTarget['format']>;
}

/** The maximum number of targets of a run or an export. */
const maxTargets = 32;

/**
 * Checks the export targets of a request and fills in missing names, such as `gguf-q4-k-m`. `field` is the path of the
 * list. Throws INVALID_ARGUMENT and UNKNOWN_FIELD with the path of the problem.
 */
export function resolveTargets(targets: readonly ExportTarget[], field: string): ResolvedTarget[] {
  refuseLongList(targets, maxTargets, field);
  refuseUnknownFields(targets, field);
  const resolved = targets.map((target, index) => resolveTarget(target, `${field}[${index}]`));
  const names = new Set<string>();
  for (const [index, { name }] of resolved.entries()) {
    if (names.has(name)) {
      const problem = `is '${name}', which is an earlier target's name; give each target its own name`;
      refuseField(`${field}[${index}].name`, problem);
    }
    names.add(name);
  }
  return resolved;
}

function resolveTarget(target: ExportTarget, path: string): ResolvedTarget {
  const { format } = target;
  if (format === undefined) refuseField(path, 'has no format; give gguf, adapter, gguf_adapter or merged');
  const type = typeOf(format, path);
  const label = type === undefined ? formatName(format) : `${formatName(format)}-${type}`;
  const name = newId(target.name || label.toLowerCase().replaceAll('_', '-'), '', `${path}.name`);
  return { ...target, format, name };
}

/** The name of a format's field in the proto, such as `gguf_adapter`. */
export function formatName({ $case }: ResolvedTarget['format']): string {
  return $case.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** Whether a target is made for llama.cpp, which then verifies it. */
export function isGguf({ format }: ExportTarget): boolean {
  return format?.$case === 'gguf' || format?.$case === 'ggufAdapter';
}

/**
 * The type of the exported numbers. Undefined for an adapter without a file of the base model, and for a merged model that
 * keeps the base model's dtypes.
 */
function typeOf(format: ResolvedTarget['format'], path: string): string | undefined {
  if (format.$case === 'gguf') return ggufTypeOf(format.value.type, `${path}.gguf.type`);
  if (format.$case === 'ggufAdapter' && format.value.baseType !== undefined)
    return ggufTypeOf(format.value.baseType, `${path}.gguf_adapter.base_type`);
  if (format.$case === 'merged') return mergedTypeOf(format.value.dtype, `${path}.merged.dtype`);
  return undefined;
}

/** The figure that decides whether a GGUF file is good enough, in nats per token, with its limit. */
export interface DecidingFigure {
  kind: 'largest difference' | 'KL divergence';
  nats: number;
  limit: number;
}

/**
 * Finds the deciding figure: the KL divergence from the file before quantising, otherwise the largest difference of a logp
 * from the policy. Undefined for an artifact that was not verified.
 */
export function decidingFigure({ verification }: Artifact): DecidingFigure | undefined {
  if (verification === undefined) return undefined;
  const { maxAbsLogpDiff, quantizationCost, tolerance: limit } = verification;
  const quantized = quantizationCost?.policy;
  if (quantized !== undefined) return { kind: 'KL divergence', nats: quantized.klDivergence, limit };
  return { kind: 'largest difference', nats: maxAbsLogpDiff, limit };
}

/** Returns `name` if it is a GGUF type. Throws INVALID_ARGUMENT. */
export function ggufTypeOf(name: string, field: string): GgufType {
  return ggufTypes.find((type) => type === name) ?? refuseType(name, ggufTypes, field);
}

/**
 * Returns `name` if it is a dtype of merged models. Undefined keeps the base model's dtypes. Throws INVALID_ARGUMENT.
 */
export function mergedTypeOf(name: string | undefined, field: string): MergedType | undefined {
  if (name === undefined) return undefined;
  return mergedTypes.find((type) => type === name) ?? refuseType(name, mergedTypes, field);
}

function refuseType(name: string, known: readonly string[], field: string): never {
  return refuseField(field, `is '${name}'; it must be one of ${known.join(', ')}`);
}
