import { PairwiseError } from '@pairwise/errors';
import type { GgufTokenizerSource } from '@pairwise/gguf';
import { readJson, type ModelFolder } from '@pairwise/safetensors';

/**
 * Reads what the tokenizer of a GGUF file needs from a model folder: tokenizer.json, tokenizer_config.json if it exists, and
 * the ids of BOS and EOS from config.json. Throws INVALID_MODEL if tokenizer.json is missing or a file is not valid JSON.
 */
export async function readGgufTokenizerFiles(
  base: ModelFolder,
): Promise<Pick<GgufTokenizerSource, 'tokenizer' | 'tokenizerConfig' | 'bosTokenId' | 'eosTokenId'>> {
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

/** The id, or the first one of a list: Llama 3.1 has several EOS tokens. */
function firstId(value: unknown): number | undefined {
  const first: unknown = Array.isArray(value) ? value[0] : value;
  return typeof first === 'number' ? first : undefined;
}
