import { PairwiseError, shown } from '@pairwise/errors';

/** The file that says which weight file has which tensor. */
export const indexName = 'model.safetensors.index.json';

/** The weight file of a model that has only one. */
const singleName = 'model.safetensors';

/** The most weight files of a model; the largest models have fewer than 200. */
const maxWeightFiles = 1000;

/**
 * The weight files of a model folder, chosen as transformers chooses them: `model.safetensors` if it exists, otherwise those
 * that the index names. An index beside `model.safetensors`, and files that the index does not name, are left over from
 * earlier saves. `readIndex` returns the JSON of the index. Throws INVALID_MODEL; a name with a path in it is refused.
 */
export async function weightFiles(files: readonly string[], readIndex: () => Promise<unknown>): Promise<string[]> {
  if (files.includes(singleName)) return [singleName];
  if (!files.includes(indexName)) {
    const message = `the folder has neither ${singleName} nor ${indexName}`;
    throw new PairwiseError('INVALID_MODEL', message, { field: singleName });
  }
  const index = await readIndex();
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
  return new PairwiseError('INVALID_MODEL', `${indexName} ${problem}`, { field: indexName });
}
