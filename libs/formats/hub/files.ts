import { PairwiseError } from '@pairwise/errors';
import { decodeJson, maxTextBytes, weightFiles } from '@pairwise/safetensors';

export const indexName = 'model.safetensors.index.json';

/** What belongs to a model besides its weights. */
const settings = new Set([
  'config.json',
  'generation_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'chat_template.jinja',
  indexName,
]);
const isLicence = (name: string) => /^(LICENSE|LICENCE|NOTICE)(\.(md|txt))?$/i.test(name);

/** Throws UNSUPPORTED_FORMAT where weights are given as pickles only. */
export function refusePickles(names: readonly string[]): void {
  const pickle = names.find((name) => /\.(bin|pt|pth|ckpt|pkl|pickle)$/i.test(name));
  if (pickle === undefined || names.some((name) => name.endsWith('.safetensors'))) return;
  const remedy = 'convert it (transformers: save_pretrained with safe_serialization) and import the result';
  throw new PairwiseError(
    'UNSUPPORTED_FORMAT',
    `${pickle} is a pickle, and only safetensors are read, since a pickle can run any code; ${remedy}`,
    { field: pickle, metadata: { file: pickle } },
  );
}

/**
 * The names of a folder's files that make up a model, in order: settings first, then weights. Only safetensors are
 * weights; pickles run code when they are read, and are never fetched or opened.
 * Throws UNSUPPORTED_FORMAT for a folder that has its weights as pickles only, INVALID_MODEL for one without weights.
 */
export async function selectFiles(names: readonly string[], readIndex: () => Promise<Uint8Array>): Promise<string[]> {
  // A listing may name a file many times.
  const plain = [...new Set(names)].filter((name) => /^[\w][\w.-]*$/.test(name));
  refusePickles(plain);
  const index = plain.includes(indexName) ? decodeJson(await readIndex(), indexName) : undefined;
  const weights = weightFiles(plain, index);
  return [...plain.filter((name) => settings.has(name) || isLicence(name)).sort(), ...weights];
}

/** Throws INVALID_MODEL for an index that is too large to be one. */
export function checkIndexSize(sizeBytes: number): void {
  if (sizeBytes <= maxTextBytes) return;
  throw new PairwiseError('INVALID_MODEL', `${indexName} has ${sizeBytes} bytes; at most ${maxTextBytes} are read`, {
    field: indexName,
  });
}
