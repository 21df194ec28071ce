import type { ChatTemplateMode } from '@pairwise/api';
import { RowError, type EncodeOptions, type Message, type PreferencePair, type Turn } from '@pairwise/preference';
import { encodeModeOf } from '@pairwise/rpc';
import type { Tokenizer } from '@pairwise/tokenizer';
import { probes } from './probes.ts';

/** A text as a program gives it to llama.cpp, with the ids that it has in training. */
export interface ServedText {
  /** What the text is, for messages: the text itself never appears in them. */
  kind: string;
  text: string;
  ids: Int32Array;
}

/**
 * The texts that a model is asked with: conversations, rendered by its chat template, or plain texts. They come from probes
 * and from pairs, whose prompts are asked once alone and once with the chosen response and what may follow it. Left out is
 * what the encoding leaves out too, and pairs that are not of the kind that is served.
 */
export async function servedTexts(
  tokenizer: Tokenizer,
  pairs: readonly PreferencePair[],
  options: { chats: boolean; chatTemplate: ChatTemplateMode; addedTokens: readonly string[] },
): Promise<ServedText[]> {
  const { chats, chatTemplate, addedTokens } = options;
  const served: ServedText[] = [];
  const add = async (kind: string, pair: PreferencePair, mode: EncodeOptions['chatTemplate']): Promise<boolean> => {
    const found = await servedText(tokenizer, pair, mode);
    if (found?.isConversation !== chats) return false;
    served.push({ kind, text: found.text, ids: found.ids });
    return true;
  };
  const addPrompt = (kind: string, prompt: Turn) => add(kind, asked(prompt), chats ? 'APPLY' : 'NONE');
  for (const { kind, messages } of probes(addedTokens)) {
    if (!chats) await addPrompt(kind, messages.at(-1)!.content);
    // Some chat templates need a system message.
    else if (!(await addPrompt(kind, messages))) {
      await addPrompt(kind, [{ role: 'system', content: 'Answer.' }, ...messages]);
    }
  }
  for (const pair of pairs) {
    if (!(await add('the prompt of a pair', pair, encodeModeOf(chatTemplate)))) continue;
    await addPrompt(
      'the response of a pair',
      chats ? followedChat(pair) : `${textOf(pair.prompt)}${textOf(pair.chosen)}`,
    );
  }
  return served;
}

/** A prompt as text and ids; undefined if the encoding leaves the pair out. */
async function servedText(tokenizer: Tokenizer, pair: PreferencePair, chatTemplate: EncodeOptions['chatTemplate']) {
  try {
    const options: EncodeOptions = { maxLength: Infinity, truncationMode: 'REFUSE', chatTemplate };
    const { isConversation, prompt: ids } = await tokenizer.encodePair(pair, options);
    const text = isConversation ? await tokenizer.render(messagesOf(pair.prompt, 'user'), true) : textOf(pair.prompt);
    return { isConversation, text, ids };
  } catch (error) {
    if (error instanceof RowError) return undefined;
    throw error;
  }
}

/** A pair of a prompt and any two responses. */
function asked(prompt: Turn): PreferencePair {
  if (typeof prompt === 'string') return { prompt, chosen: 'Yes.', rejected: 'No.' };
  return { prompt, chosen: messagesOf('Yes.', 'assistant'), rejected: messagesOf('No.', 'assistant') };
}

/** A pair's conversation with its chosen response, and a question that follows. */
function followedChat({ prompt, chosen }: PreferencePair): Message[] {
  return [...messagesOf(prompt, 'user'), ...messagesOf(chosen, 'assistant'), { role: 'user', content: 'Why?' }];
}

function messagesOf(turn: Turn, role: string): readonly Message[] {
  return typeof turn === 'string' ? [{ role, content: turn }] : turn;
}

function textOf(turn: Turn): string {
  return typeof turn === 'string' ? turn : turn.map(({ content }) => content).join('');
}
