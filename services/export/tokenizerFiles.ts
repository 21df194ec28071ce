import { PairwiseError } from '@pairwise/errors';
import type { TokenizerFiles } from '@pairwise/gguf';
import { readJson, type ModelFolder } from '@pairwise/safetensors';

/**
 * What a GGUF file's tokenizer is made of, from a model folder: tokenizer.json, tokenizer_config.json where there is
 * one, and config.json's ids of bos and eos. Throws `INVALID_MODEL` where tokenizer.json is missing or a file is not valid JSON.
 */
export async function readGgufTokenizerFiles(
  base: ModelFolder,
): Promise<Pick<TokenizerFiles, 'tokenizer' | 'tokenizerConfig' | 'bosTokenId' | 'eosTokenId'>> {
  const tokenizer = await readJson(base, 'tokenizer.json');
  if (tokenizer === undefined) {
    throw new PairwiseError('INVALID_MODEL', 'tokenizer.json is missing', { field: 'tokenizer.json' });
  }
  const config = (await readJson(base, 'config.json')) as Record<string, unknown>;
  return {
    tokenizer,
    tokenizerConfig: await readJson(base, 'tokenizer_config.json'),
    bosTokenId: firstId(config['bos_token_id']),
    eosTokenId: firstId(config['eos_token_id']),
  };
}

/** An id, or the first of a list: Llama 3.1 has several eos tokens. */
function firstId(value: unknown): number | undefined {
  const first: unknown = Array.isArray(value) ? value[0] : value;
  return typeof first === 'number' ? first : undefined;
}
