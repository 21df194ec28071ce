import { ExportTarget } from '@pairwise/api';
import { refuse } from './refuse.ts';
import type { ResolvedTarget } from './resolved.ts';

/** The types of a GGUF file. */
export const ggufTypes = ['F32', 'F16', 'BF16', 'Q8_0', 'Q4_K_M'] as const;
/** The dtypes of a merged model. */
const mergedTypes = ['F32', 'F16', 'BF16'] as const;

const defaults: readonly ExportTarget[] = [
  ExportTarget.create({ format: { $case: 'adapter', value: {} } }),
  ExportTarget.create({ format: { $case: 'gguf', value: { type: 'F16' } } }),
];

/** The targets with their names filled in; without any, the adapter and GGUF as F16. Throws INVALID_ARGUMENT. */
export function resolveTargets(targets: readonly ExportTarget[]): ResolvedTarget[] {
  const resolved = (targets.length === 0 ? defaults : targets).map(resolveTarget);
  const names = new Set<string>();
  for (const [index, { name }] of resolved.entries()) {
    if (names.has(name)) {
      const problem = `is '${name}', which is an earlier target's name; give each target its own name`;
      refuse(`spec.export_targets[${index}].name`, problem);
    }
    names.add(name);
  }
  return resolved;
}

function resolveTarget(target: ExportTarget, index: number): ResolvedTarget {
  const path = `spec.export_targets[${index}]`;
  const { format } = target;
  if (format === undefined) refuse(path, 'has no format; give gguf, adapter or merged');
  const type = resolveType(format, path);
  const name = target.name || (type === undefined ? format.$case : `${format.$case}-${type}`);
  const label = name.toLowerCase().replaceAll('_', '-');
  if (!/^[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])?$/.test(label) || (target.name !== '' && label !== target.name)) {
    refuse(`${path}.name`, `is '${name}'; it must be a DNS label: a-z, 0-9 and -, at most 50 characters`);
  }
  return { ...target, format, name: label };
}

/** The type of the format's numbers; undefined where it has no choice, or leaves it to the base model. */
function resolveType(format: ResolvedTarget['format'], path: string): string | undefined {
  if (format.$case === 'adapter') return undefined;
  const [field, type, known]: [string, string | undefined, readonly string[]] =
    format.$case === 'gguf'
      ? ['gguf.type', format.value.type, ggufTypes]
      : ['merged.dtype', format.value.dtype, mergedTypes];
  if (type !== undefined && !known.includes(type)) {
    refuse(`${path}.${field}`, `is '${type}'; it must be one of ${known.join(', ')}`);
  }
  return type;
}
