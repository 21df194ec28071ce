import type { ChatFormat } from '@pairwise/gguf';
import {
  RowError,
  type EncodedPair,
  type EncodingLimits,
  type Message,
  type PreferencePair,
} from '@pairwise/preference';
import { limits as ours, type Limits } from './limits.ts';
import { startProcess } from './process.ts';
import type { Opened } from './requests.ts';
import type { TokenizerFiles } from './settings.ts';

/**
 * A model's tokenizer with its chat template, in a process of its own that holds it to a time and an amount of memory.
 * Requests may be made at the same time. Whatever the files hold, a request throws at worst: INVALID_MODEL or
 * UNSUPPORTED_CONFIG where it crashes the process or exceeds its limits, INTERNAL where the process was killed by
 * somebody else. After a crash every request throws.
 */
export interface Tokenizer extends Opened, AsyncDisposable {
  /** Encodes as `encodePair` of libs/preference does. Throws RowError for a pair that cannot be kept. */
  encodePair(pair: PreferencePair, limits: EncodingLimits): Promise<EncodedPair>;
  /** Renders with the chat template. Throws RowError for messages that it refuses, UNSUPPORTED_CONFIG without one. */
  render(messages: readonly Message[], addGenerationPrompt: boolean): Promise<string>;
  /** The chat template as texts around messages (see `chatFormatOf` of libs/gguf); undefined where it has no such form. */
  chatFormat(): Promise<ChatFormat | undefined>;
  /** The text of ids, special tokens included. */
  decode(ids: Int32Array): Promise<string>;
}

/**
 * Opens a tokenizer from the texts of a model's files; `signal` ends it at any time. Throws INVALID_MODEL for files that
 * are broken, and UNSUPPORTED_CONFIG for a chat template that cannot be parsed or takes too long.
 */
export function openTokenizer(files: TokenizerFiles, signal?: AbortSignal): Promise<Tokenizer> {
  return openWithin(ours, files, signal);
}

/** `openTokenizer` with limits of one's own. */
export async function openWithin(limits: Limits, files: TokenizerFiles, signal?: AbortSignal): Promise<Tokenizer> {
  await using opening = new AsyncDisposableStack();
  const process = opening.use(startProcess(limits, signal));
  const opened = await process.request('open', files);
  const render: Tokenizer['render'] = (messages, addGenerationPrompt) =>
    process.request('render', { messages, addGenerationPrompt });
  if (opened.chatTemplate !== undefined) await unlessRefused(render([{ role: 'user', content: 'a' }], true));
  const holds = opening.move();
  return {
    ...opened,
    encodePair: (pair, wanted) => process.request('encodePair', { pair, limits: wanted }),
    render,
    chatFormat: () => process.request('chatFormat', null),
    decode: (ids) => process.request('decode', ids),
    [Symbol.asyncDispose]: () => holds.disposeAsync(),
  };
}

/** A template may refuse the messages of a trial, but not take too long for them. */
async function unlessRefused(trial: Promise<unknown>): Promise<void> {
  try {
    await trial;
  } catch (error) {
    if (!(error instanceof RowError)) throw error;
  }
}
