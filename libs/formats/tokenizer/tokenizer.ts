import type { ChatFormat } from '@pairwise/gguf';
import {
  defaultChatTemplateDate,
  type EncodedNow,
  type EncodeOptions,
  type Message,
  type PreferencePair,
} from '@pairwise/preference';
import { limits as ours, type Limits } from './limits.ts';
import { startProcess } from './process.ts';
import type { Limitations, Opened } from './requests.ts';
import type { TokenizerFiles } from './settings.ts';

/**
 * A model's tokenizer with its chat template, in a process of its own that holds it to a time and an amount of memory.
 * Requests may be made at the same time. Whatever the files hold, a request throws at worst: INVALID_MODEL or
 * UNSUPPORTED_CONFIG where it crashes the process or exceeds its limits, INTERNAL where the process was killed by
 * somebody else. After a crash every request throws.
 */
export interface Tokenizer extends Opened, AsyncDisposable {
  /** Encodes as `encodePair` of libs/preference does. Throws RowError for a pair that cannot be kept. */
  encodePair(pair: PreferencePair, options: EncodeOptions): Promise<EncodedNow>;
  /** Renders with the chat template. Throws RowError for messages that it refuses, UNSUPPORTED_CONFIG without one. */
  render(messages: readonly Message[], addGenerationPrompt: boolean): Promise<string>;
  /** The chat template as texts around messages (see `chatFormatOf` of libs/gguf); undefined where it has no such form. */
  chatFormat(): Promise<ChatFormat | undefined>;
  /** The text of ids, special tokens included. */
  decode(ids: Int32Array): Promise<string>;
  /** What the model cannot do although it can be trained. */
  limitations(): Promise<Limitations>;
}

export interface OpenOptions {
  /** The day that the chat template sees as today, YYYY-MM-DD. Default: `defaultChatTemplateDate`. */
  date?: string;
  /** Ends the tokenizer at any time. */
  signal?: AbortSignal;
  /** Default: those of limits.ts. */
  limits?: Limits;
}

/**
 * Opens a tokenizer from the texts of a model's files. Throws INVALID_MODEL for files that are broken, and
 * UNSUPPORTED_CONFIG for a chat template that cannot be parsed or takes too long.
 */
export async function openTokenizer(
  files: TokenizerFiles,
  { date = defaultChatTemplateDate, signal, limits = ours }: OpenOptions = {},
): Promise<Tokenizer> {
  await using opening = new AsyncDisposableStack();
  const process = opening.use(startProcess(limits, signal));
  const opened = await process.request('open', { files, date });
  const holds = opening.move();
  return {
    ...opened,
    encodePair: (pair, options) => {
      // Without a template a pair of texts renders nothing, so nobody need wait for that.
      const rendersNothing = opened.chatTemplate === undefined && options.chatTemplate === 'AUTO';
      const chatTemplate = rendersNothing && typeof pair.prompt === 'string' ? 'NONE' : options.chatTemplate;
      return process.request('encodePair', { pair, options: { ...options, chatTemplate } });
    },
    render: (messages, addGenerationPrompt) => process.request('render', { messages, addGenerationPrompt }),
    chatFormat: () => process.request('chatFormat', null),
    decode: (ids) => process.request('decode', ids),
    limitations: () => process.request('limitations', null),
    [Symbol.asyncDispose]: () => holds.disposeAsync(),
  };
}
