import { PairwiseError } from '@pairwise/errors';
import { readText, type ModelFolder } from '@pairwise/safetensors';
import type { TokenizerFiles } from './settings.ts';

/** The texts of a model folder that make its tokenizer. Throws INVALID_MODEL for a folder without a tokenizer.json. */
export async function readTokenizerFiles(folder: ModelFolder): Promise<TokenizerFiles> {
  const text = (path: string) => readText(folder, path);
  const tokenizerJson = await text('tokenizer.json');
  if (tokenizerJson === undefined) {
    const message = 'the folder has no tokenizer.json; save the tokenizer with a fast one of transformers';
    throw new PairwiseError('INVALID_MODEL', message, { field: 'tokenizer.json' });
  }
  return {
    tokenizerJson,
    tokenizerConfig: await text('tokenizer_config.json'),
    specialTokensMap: await text('special_tokens_map.json'),
    chatTemplate: await text('chat_template.jinja'),
    generationConfig: await text('generation_config.json'),
    config: await text('config.json'),
  };
}
