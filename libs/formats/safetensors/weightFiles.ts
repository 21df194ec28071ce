import { PairwiseError, shown } from '@pairwise/errors';

/** The most weight files of a model; the largest models have fewer than 200. */
const maxWeightFiles = 1000;

/**
 * The weight files of a model folder: those that `model.safetensors.index.json` names, or the one `model.safetensors`.
 * `index` is the JSON of the index, undefined if there is none. Throws INVALID_MODEL; a name with a path in it is refused.
 */
export function weightFiles(files: readonly string[], index: unknown): string[] {
  if (index === undefined) {
    if (files.includes('model.safetensors')) return ['model.safetensors'];
    const message = 'the folder has neither model.safetensors nor model.safetensors.index.json';
    throw new PairwiseError('INVALID_MODEL', message, { field: 'model.safetensors' });
  }
  const map = typeof index === 'object' && index !== null && 'weight_map' in index ? index.weight_map : undefined;
  const named = typeof map === 'object' && map !== null ? [...new Set<unknown>(Object.values(map))] : [];
  if (named.length === 0) throw refuse('has no weight_map');
  if (named.length > maxWeightFiles) {
    throw refuse(`names ${named.length} files; a model may have at most ${maxWeightFiles} weight files`);
  }
  const present = new Set(files);
  for (const file of named) {
    if (typeof file !== 'string' || !/^[\w.-]+\.safetensors$/.test(file)) {
      throw refuse(`names the file ${shown(file)}; it must be a plain name ending in .safetensors`);
    }
    if (!present.has(file)) throw refuse(`names ${shown(file)}, which is not in the folder`);
  }
  return named.map(String).sort();
}

function refuse(problem: string): PairwiseError {
  return new PairwiseError('INVALID_MODEL', `model.safetensors.index.json ${problem}`, {
    field: 'model.safetensors.index.json',
  });
}
