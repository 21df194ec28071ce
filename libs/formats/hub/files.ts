import { PairwiseError } from '@pairwise/errors';
import { decodeJson, indexName, maxTextBytes, weightFiles } from '@pairwise/safetensors';

/** The files of a model other than its weights. */
const settings = new Set([
  'config.json',
  'generation_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'chat_template.jinja',
]);
const isLicence = (name: string) => /^(LICENSE|LICENCE|NOTICE)(\.(md|txt))?$/i.test(name);

/** Throws UNSUPPORTED_FORMAT if the only weights are pickles. */
export function refusePickles(names: readonly string[]): void {
  const pickle = names.find((name) => /\.(bin|pt|pth|ckpt|pkl|pickle)$/i.test(name));
  if (pickle === undefined || names.some((name) => name.endsWith('.safetensors'))) return;
  const remedy = 'convert it (transformers: save_pretrained with safe_serialization) and import the result';
  throw new PairwiseError(
    'UNSUPPORTED_FORMAT',
    `${pickle} is a pickle, which can run any code, so only safetensors are supported; ${remedy}`,
    { field: pickle, metadata: { file: pickle } },
  );
}

/**
 * The names of the files in a folder that make up a model, in order: settings first, then weights. Only safetensors count as
 * weights. Pickles run code when they are read, so they are never downloaded or opened.
 * Throws UNSUPPORTED_FORMAT if the only weights are pickles, and INVALID_MODEL if there are none.
 */
export async function selectFiles(names: readonly string[], readIndex: () => Promise<Uint8Array>): Promise<string[]> {
  // A listing may contain a file several times.
  const plain = [...new Set(names)].filter((name) => /^[\w][\w.-]*$/.test(name));
  refusePickles(plain);
  let index: string[] = [];
  const weights = await weightFiles(plain, async () => {
    index = [indexName];
    return decodeJson(await readIndex(), indexName);
  });
  return [...index, ...plain.filter((name) => settings.has(name) || isLicence(name))].sort().concat(weights);
}

/** Throws INVALID_MODEL for an index that is too large. */
export function checkIndexSize(sizeBytes: number): void {
  if (sizeBytes <= maxTextBytes) return;
  throw new PairwiseError('INVALID_MODEL', `${indexName} has ${sizeBytes} bytes; at most ${maxTextBytes} are allowed`, {
    field: indexName,
  });
}
