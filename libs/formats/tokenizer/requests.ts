import type { Reason } from '@pairwise/errors';
import type { ChatFormat } from '@pairwise/gguf';
import type { EncodeOptions, EncodedNow, Message, PreferencePair, Refusal } from '@pairwise/preference';
import type { TokenizerFiles } from './settings.ts';
import type { SpecialTokens } from './specialTokens.ts';

/** What the child process does for us, by name: arguments and result. Everything is plain data. */
export interface Requests {
  open: { args: { files: TokenizerFiles; date: string }; result: Opened };
  encodePair: { args: { pair: PreferencePair; options: EncodeOptions }; result: EncodedNow };
  render: { args: { messages: readonly Message[]; addGenerationPrompt: boolean }; result: string };
  chatFormat: { args: null; result: ChatFormat | undefined };
  decode: { args: Int32Array; result: string };
  limitations: { args: null; result: Limitations };
}

export type RequestName = keyof Requests;

/** What is known of a tokenizer once it is open. */
export interface Opened {
  /** The chat template (Jinja), wherever it was found; undefined without one. */
  chatTemplate: string | undefined;
  special: SpecialTokens;
}

/** What a model cannot do although it can be trained: known from its tokenizer and chat template before any work. */
export interface Limitations {
  /** One sentence each. */
  warnings: string[];
  /** Why its tokenizer cannot be written to a GGUF file; undefined if it can. */
  ggufObstacle: { reason: Reason; message: string } | undefined;
}

/** From parent to child. */
export interface RequestMessage {
  id: number;
  name: RequestName;
  args: Requests[RequestName]['args'];
}

/** A RowError, or else a PairwiseError, as it travels. */
export type Failure = { refusal: Refusal; message: string } | { reason: Reason; message: string; field?: string };

/** From child to parent: that a request starts or has finished rendering the chat template, and its answer. */
export type ReplyMessage =
  { id: number; rendering: boolean } | { id: number; result: unknown } | { id: number; failure: Failure };

/** Whether a request renders the chat template as soon as it is read. `open` starts a process first, and says when. */
export function rendersMessages(name: RequestName, args: RequestMessage['args']): boolean {
  if (name === 'encodePair') {
    const { pair, options } = args as Requests['encodePair']['args'];
    return typeof pair.prompt !== 'string' || options.chatTemplate !== 'NONE';
  }
  return name === 'render' || name === 'chatFormat' || name === 'limitations';
}
