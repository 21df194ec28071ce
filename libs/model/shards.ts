import { PairwiseError } from '@pairwise/errors';

/**
 * The weight files of a model folder: those that `model.safetensors.index.json` names, or the one `model.safetensors`.
 * `index` is the index's JSON, undefined where there is none. Throws INVALID_MODEL; a name with a path in it is refused.
 */
export function weightFiles(files: readonly string[], index: unknown): string[] {
  if (index === undefined) {
    if (files.includes('model.safetensors')) return ['model.safetensors'];
    const message = 'the folder has neither model.safetensors nor model.safetensors.index.json';
    throw new PairwiseError('INVALID_MODEL', message, { field: 'model.safetensors' });
  }
  const map = (index as { weight_map?: unknown } | null)?.weight_map;
  if (typeof map !== 'object' || map === null || Object.keys(map).length === 0) {
    throw refuse('has no weight_map');
  }
  const named = [...new Set(Object.values(map as Record<string, unknown>))];
  for (const file of named) {
    if (typeof file !== 'string' || !/^[\w.-]+\.safetensors$/.test(file)) {
      throw refuse(`names the file ${JSON.stringify(file)}; a plain name ending in .safetensors is needed`);
    }
    if (!files.includes(file)) throw refuse(`names ${file}, which is not in the folder`);
  }
  return named.map(String).sort();
}

function refuse(problem: string): PairwiseError {
  return new PairwiseError('INVALID_MODEL', `model.safetensors.index.json ${problem}`, {
    field: 'model.safetensors.index.json',
  });
}
