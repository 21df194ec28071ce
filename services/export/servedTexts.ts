import type { ChatTemplateMode } from '@pairwise/api';
import { RowError, type EncodeOptions, type Message, type PreferencePair, type Turn } from '@pairwise/preference';
import { encodeModeOf } from '@pairwise/rpc';
import type { Tokenizer } from '@pairwise/tokenizer';
import { probes, samplePrompts } from './probes.ts';

/** A text as a program gives it to llama.cpp, with the ids that it has in training. */
export interface ServedText {
  /** What the text is, for messages: the text itself never appears in them. */
  kind: string;
  text: string;
  ids: Int32Array;
}

type Served = Omit<ServedText, 'kind'>;

/** A prompt whose answers stand on an artifact, with the ids that it is asked with. */
export interface SamplePrompt {
  prompt: string;
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
  const add = (kind: string, found: Served | undefined): boolean => {
    if (found !== undefined) served.push({ kind, ...found });
    return found !== undefined;
  };
  for (const { kind, messages } of probes(addedTokens)) add(kind, await servedProbe(tokenizer, messages, chats));
  for (const pair of pairs) {
    const prompt = await servedPrompt(tokenizer, pair, { chats, mode: encodeModeOf(chatTemplate) });
    if (!add('the prompt of a pair', prompt)) continue;
    const response = chats ? followedChat(pair) : `${textOf(pair.prompt)}${textOf(pair.chosen)}`;
    add('the response of a pair', await servedAlone(tokenizer, response, chats));
  }
  return served;
}

/** The ids of the prompts whose answers stand on an artifact. Left out is a prompt that cannot be encoded. */
export async function servedSamples(tokenizer: Tokenizer, chats: boolean): Promise<SamplePrompt[]> {
  const samples: SamplePrompt[] = [];
  for (const prompt of samplePrompts) {
    const found = await servedProbe(tokenizer, [{ role: 'user', content: prompt }], chats);
    if (found !== undefined) samples.push({ prompt, ids: found.ids });
  }
  return samples;
}

/** A conversation that ends with a question; plain texts are the question alone. */
async function servedProbe(
  tokenizer: Tokenizer,
  messages: readonly Message[],
  chats: boolean,
): Promise<Served | undefined> {
  if (!chats) return servedAlone(tokenizer, messages.at(-1)!.content, chats);
  const found = await servedAlone(tokenizer, messages, chats);
  // Some chat templates need a system message.
  return found ?? servedAlone(tokenizer, [{ role: 'system', content: 'Answer.' }, ...messages], chats);
}

/** A prompt without a pair. */
function servedAlone(tokenizer: Tokenizer, prompt: Turn, chats: boolean): Promise<Served | undefined> {
  return servedPrompt(tokenizer, asked(prompt), { chats, mode: chats ? 'APPLY' : 'NONE' });
}

/** A pair's prompt as text and ids; undefined if the encoding leaves the pair out, or if it is of the other kind. */
async function servedPrompt(
  tokenizer: Tokenizer,
  pair: PreferencePair,
  { chats, mode }: { chats: boolean; mode: EncodeOptions['chatTemplate'] },
): Promise<Served | undefined> {
  try {
    const options: EncodeOptions = { maxLength: Infinity, truncationMode: 'REFUSE', chatTemplate: mode };
    const { isConversation, prompt: ids } = await tokenizer.encodePair(pair, options);
    if (isConversation !== chats) return undefined;
    const text = isConversation ? await tokenizer.render(messagesOf(pair.prompt, 'user'), true) : textOf(pair.prompt);
    return { text, ids };
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
