import type { Encoding } from '@pairwise/api';
import type { PreferencePair } from '@pairwise/preference';
import type { ModelFolder } from '@pairwise/safetensors';
import { openTokenizer, readTokenizerFiles } from '@pairwise/tokenizer';
import { servedTexts } from './servedTexts.ts';
import { servingOf } from './serving.ts';
import type { TextExpectation } from './verifyText.ts';

/**
 * Derives what a GGUF file must do with texts from the model's folder, the encoding that was trained on, and pairs. Throws
 * the errors of `openTokenizer`.
 */
export async function textExpectationOf(
  folder: ModelFolder,
  encoding: Encoding,
  pairs: readonly PreferencePair[],
  signal?: AbortSignal,
): Promise<TextExpectation> {
  const serving = await servingOf(folder, encoding, signal);
  const { chatTemplate, chatTemplateDate: date } = encoding;
  const { added_tokens: added = [] } = serving.tokenizer.tokenizer as { added_tokens?: { content: string }[] };
  const addedTokens = added.map(({ content }) => content);
  await using tokenizer = await openTokenizer(await readTokenizerFiles(folder), { date, ...(signal && { signal }) });
  const texts = await servedTexts(tokenizer, pairs, {
    chats: serving.chat !== 'plain text',
    chatTemplate,
    addedTokens,
  });
  return { serving, texts, encoding };
}
