import { PairwiseError, shown } from '@pairwise/errors';
import { decodeJson, indexName, isRecord, maxTextBytes, weightFiles } from '@pairwise/safetensors';

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

/** Reads a text file of a folder. Throws INVALID_MODEL for one that is too large (see `checkTextSize`). */
export type ReadText = (name: string) => Promise<Uint8Array>;

/**
 * The names of the files in a folder that make up a model, in order: settings first, then weights. Only safetensors count as
 * weights. Pickles run code when they are read, so they are never downloaded or opened.
 * Throws UNSUPPORTED_FORMAT for an adapter, alone or with a whole model, and for a GGUF file or pickles in place of a model,
 * and INVALID_MODEL without weights.
 */
export async function selectFiles(names: readonly string[], read: ReadText): Promise<string[]> {
  // A listing may contain a file several times.
  const plain = [...new Set(names)].filter((name) => /^[\w][\w.-]*$/.test(name));
  const isWhole = plain.includes('model.safetensors') || plain.includes(indexName);
  if (plain.includes(adapterConfig)) throw adapter(decodeJson(await read(adapterConfig), adapterConfig), isWhole);
  if (!isWhole) {
    for (const name of plain) refuseGguf(name);
    if (!plain.some((name) => name.endsWith('.safetensors'))) for (const name of plain) refusePickle(name);
  }
  let index: string[] = [];
  const weights = await weightFiles(plain, async () => {
    index = [indexName];
    return decodeJson(await read(indexName), indexName);
  });
  return [...index, ...plain.filter((name) => settings.has(name) || isLicence(name))].sort().concat(weights);
}

const adapterConfig = 'adapter_config.json';

/**
 * The refusal of an adapter. With a whole model in the same folder it is unclear which model is meant: transformers loads
 * that model with the adapter on top, the adapter on its own base model if the folder is a repository, or the model alone
 * if PEFT is not installed.
 */
function adapter(config: unknown, isWithModel: boolean): PairwiseError {
  const base = isRecord(config) ? config['base_model_name_or_path'] : undefined;
  const of = typeof base === 'string' ? ` of ${shown(base)}` : '';
  const merging = 'merge it into its base model (PEFT: merge_and_unload, then save_pretrained) and import the result';
  const message = isWithModel
    ? `the folder contains a whole model and a PEFT adapter${of}; delete ${adapterConfig} to import the model without the adapter, or ${merging}`
    : `this is a PEFT adapter${of}, not a whole model; ${merging}`;
  return unsupported(adapterConfig, message);
}

/** Throws UNSUPPORTED_FORMAT if the name is that of a GGUF file. */
export function refuseGguf(name: string): void {
  if (!/\.gguf$/i.test(name)) return;
  const remedy = 'import the model that it was made from, a folder with config.json, tokenizer.json and safetensors';
  throw unsupported(name, `${name} is a GGUF file, which can run but not be trained; ${remedy}`);
}

/** Throws UNSUPPORTED_FORMAT if the name is that of a pickle. */
export function refusePickle(name: string): void {
  if (!/\.(bin|pt|pth|ckpt|pkl|pickle)$/i.test(name)) return;
  const remedy = 'convert it (transformers: save_pretrained with safe_serialization) and import the result';
  throw unsupported(name, `${name} is a pickle, which can run any code, so only safetensors are supported; ${remedy}`);
}

function unsupported(file: string, message: string): PairwiseError {
  return new PairwiseError('UNSUPPORTED_FORMAT', message, { field: file, metadata: { file } });
}

/** Throws INVALID_MODEL for a text file that is too large. */
export function checkTextSize(name: string, sizeBytes: number): void {
  if (sizeBytes <= maxTextBytes) return;
  throw new PairwiseError('INVALID_MODEL', `${name} has ${sizeBytes} bytes; at most ${maxTextBytes} are allowed`, {
    field: name,
  });
}
