import type { Encoding } from '@pairwise/api';
import type { ChatFormat, GgufTokenizerSource } from '@pairwise/gguf';
import { readJson, type ModelFolder } from '@pairwise/safetensors';
import { openTokenizer, readTokenizerFiles, type Tokenizer } from '@pairwise/tokenizer';

/** How a GGUF file and its Modelfile make token ids of what a user writes: exactly as in training. */
export interface Serving {
  tokenizer: Omit<GgufTokenizerSource, 'vocabSize'>;
  /** How turns are written; undefined for a chat template that cannot be expressed as texts around each message. */
  chat: ChatFormat | 'plain text' | undefined;
  /** Texts of the tokens that stop generation, the end of a turn first. */
  stops: readonly string[];
  /** Where a server cannot do as in training, in words for a user. */
  caveats: readonly string[];
}

/**
 * Derives it from a model's folder and the encoding that was trained on: a model that was trained on plain texts is served
 * plain texts. Without an encoding the chat template decides. Throws the errors of `openTokenizer`.
 */
export async function servingOf(
  folder: ModelFolder,
  encoding: Encoding | undefined,
  signal?: AbortSignal,
): Promise<Serving> {
  await using opened = await openServed(folder, encoding, signal);
  return await servingWith(opened, folder, encoding);
}

/** Opens a model's tokenizer as it was in training. Throws the errors of `openTokenizer`. */
export async function openServed(
  folder: ModelFolder,
  encoding: Encoding | undefined,
  signal: AbortSignal | undefined,
): Promise<Tokenizer> {
  return openTokenizer(await readTokenizerFiles(folder), {
    ...(encoding && { date: encoding.chatTemplateDate }),
    ...(signal && { signal }),
  });
}

/** `servingOf` with a tokenizer that is open already. */
export async function servingWith(
  opened: Tokenizer,
  folder: ModelFolder,
  encoding: Encoding | undefined,
): Promise<Serving> {
  const { chatTemplate, special } = opened;
  const answersChats = chatTemplate !== undefined && (encoding === undefined || encoding.conversationCount > 0);
  const addsBos = special.bosBeginsTexts && !(answersChats && special.bosBeginsChats === false);
  const chat = answersChats ? await opened.chatFormat() : 'plain text';
  return {
    tokenizer: { tokenizer: await readJson(folder, 'tokenizer.json'), special: { ...special, addsBos }, chatTemplate },
    chat,
    stops: await Promise.all(special.stopIds.map((id) => opened.decode(Int32Array.of(id)))),
    caveats: [
      ...(chat === undefined ? [noTemplate] : []),
      ...(answersChats && chatTemplate.includes('strftime_now') ? [writesToday(encoding)] : []),
    ],
  };
}

const noTemplate =
  "the chat template cannot be written in Go's template language: the Modelfile has no TEMPLATE, and Ollama uses its own";

function writesToday(encoding: Encoding | undefined): string {
  const trained = encoding === undefined ? '' : `, but ${encoding.chatTemplateDate} was trained`;
  return `the chat template may write the date: llama.cpp writes today's${trained}`;
}
