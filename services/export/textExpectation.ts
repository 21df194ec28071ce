import type { Encoding } from '@pairwise/api';
import type { PreferencePair } from '@pairwise/preference';
import type { ModelFolder } from '@pairwise/safetensors';
import { servedSamples, servedTexts } from './servedTexts.ts';
import { openServed, servingWith } from './serving.ts';
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
  await using tokenizer = await openServed(folder, encoding, signal);
  const serving = await servingWith(tokenizer, folder, encoding);
  const { added_tokens: added = [] } = serving.tokenizer.tokenizer as { added_tokens?: { content: string }[] };
  const addedTokens = added.map(({ content }) => content);
  const chats = serving.chat !== 'plain text';
  const texts = await servedTexts(tokenizer, pairs, { chats, chatTemplate: encoding.chatTemplate, addedTokens });
  return { serving, texts, samples: await servedSamples(tokenizer, chats), encoding };
}
