import { PairwiseError } from '@pairwise/errors';
import type { TokenizerFiles } from '@pairwise/gguf';
import type { ModelFolder } from '@pairwise/model';

/** Largest tokenizer.json that is read, in bytes; those of the largest vocabularies have about 30 MB. */
const maxJsonBytes = 256 * 1024 * 1024;

/**
 * What a GGUF file's tokenizer is made of, from a model folder: tokenizer.json, tokenizer_config.json where there is
 * one, and config.json's ids of bos and eos. Throws `INVALID_MODEL` where a file is missing or no JSON.
 */
export async function readGgufTokenizerFiles(
  base: ModelFolder,
): Promise<Pick<TokenizerFiles, 'tokenizer' | 'tokenizerConfig' | 'bosTokenId' | 'eosTokenId'>> {
  const hasConfig = base.files.some(({ path }) => path === 'tokenizer_config.json');
  const config = (await readJson(base, 'config.json')) as Record<string, unknown>;
  return {
    tokenizer: await readJson(base, 'tokenizer.json'),
    tokenizerConfig: hasConfig ? await readJson(base, 'tokenizer_config.json') : undefined,
    bosTokenId: firstId(config['bos_token_id']),
    eosTokenId: firstId(config['eos_token_id']),
  };
}

/** An id, or the first of a list: Llama 3.1 has several eos tokens. */
function firstId(value: unknown): number | undefined {
  const first: unknown = Array.isArray(value) ? value[0] : value;
  return typeof first === 'number' ? first : undefined;
}

async function readJson(base: ModelFolder, path: string): Promise<unknown> {
  const file = base.files.find((each) => each.path === path);
  if (file === undefined || file.sizeBytes > maxJsonBytes) {
    const problem = file ? `has ${file.sizeBytes} bytes` : 'is missing';
    throw new PairwiseError('INVALID_MODEL', `${path} ${problem}`, { field: path });
  }
  const bytes = await base.read(path, 0, file.sizeBytes);
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) as unknown;
  } catch (cause) {
    throw new PairwiseError('INVALID_MODEL', `${path} is no JSON`, { field: path, cause });
  }
}
