import { PairwiseError } from '@pairwise/errors';
import type { ModelFolder } from '@pairwise/model';
import type { TokenizerFiles } from './settings.ts';

/** Largest file of a tokenizer that is read, in bytes; those of the largest vocabularies have about 30 MB. */
const maxBytes = 256 * 1024 * 1024;

/** The texts of a model folder that make its tokenizer. Throws INVALID_MODEL for a folder without a tokenizer.json. */
export async function readTokenizerFiles(folder: ModelFolder): Promise<TokenizerFiles> {
  const tokenizerJson = await textOf(folder, 'tokenizer.json');
  if (tokenizerJson === undefined) {
    const message = 'the folder has no tokenizer.json; save the tokenizer with a fast one of transformers';
    throw new PairwiseError('INVALID_MODEL', message, { field: 'tokenizer.json' });
  }
  return {
    tokenizerJson,
    tokenizerConfig: await textOf(folder, 'tokenizer_config.json'),
    chatTemplate: await textOf(folder, 'chat_template.jinja'),
    generationConfig: await textOf(folder, 'generation_config.json'),
    config: await textOf(folder, 'config.json'),
  };
}

async function textOf(folder: ModelFolder, path: string): Promise<string | undefined> {
  const file = folder.files.find((each) => each.path === path);
  if (file === undefined) return undefined;
  if (file.sizeBytes > maxBytes) {
    throw new PairwiseError('INVALID_MODEL', `${path} has ${file.sizeBytes} bytes; at most ${maxBytes} are read`, {
      field: path,
    });
  }
  const bytes = await folder.read(path, 0, file.sizeBytes);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new PairwiseError('INVALID_MODEL', `${path} is no UTF-8`, { field: path, cause });
  }
}
