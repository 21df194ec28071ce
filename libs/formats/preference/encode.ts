import { digestOf, type Digest } from '@pairwise/fingerprint';
import { pairDigest, type PreferencePair, type Turn } from './pair.ts';
import { RowError } from './rows.ts';

/** A pair as token ids. Each response includes its end of turn, and both follow exactly the same prompt ids. */
export interface EncodedPair {
  pairDigest: Digest;
  prompt: Int32Array;
  chosen: Int32Array;
  rejected: Int32Array;
  /** sha256 of the exact prompt and response ids: the key of the response's reference logps. */
  chosenDigest: Digest;
  rejectedDigest: Digest;
}

/** A pair that was just encoded. */
export interface EncodedNow extends EncodedPair {
  /** Whether the chat template rendered it. Otherwise it is plain text. */
  isConversation: boolean;
}

/** What encoding needs from a model's tokenizer and chat template. */
export interface PairTokenizer {
  /** Whether the model has a chat template. */
  rendersChats: boolean;
  /**
   * Whether a text prompt already contains turns of the chat template: it has special tokens of the model, or ends with
   * what the template writes before an answer.
   */
  spellsTurns(prompt: string): boolean;
  /** Renders a prompt as the model sees it, up to where a response begins. */
  renderPrompt(prompt: Turn): string;
  /**
   * Renders a response to a prompt, with an end of turn unless the text already has one. Throws RowError if the
   * template does more than append the response.
   */
  renderResponse(prompt: Turn, response: Turn): string;
  /**
   * Encodes a text that begins a sequence. Unless a chat template rendered it, a BOS comes first if the model has one,
   * and never twice.
   */
  encode(text: string, isConversation: boolean): Promise<Int32Array>;
  /** Encodes a text that continues a sequence, without the tokens that belong to a beginning. */
  encodeContinuation(text: string): Promise<Int32Array>;
  /** Whether ids that begin a sequence decode to exactly this text. */
  isText(ids: Int32Array, text: string): Promise<boolean>;
  /** The number of tokens that the model has embeddings for; undefined if unknown. */
  vocabularySize: number | undefined;
}

/**
 * How to treat a pair longer than the limit: refuse it, cut the ends of its responses, or cut the beginning of its
 * prompt.
 */
export type TruncationMode = 'REFUSE' | 'KEEP_START' | 'KEEP_END';

/**
 * Whether a pair of texts becomes a conversation. `AUTO`: if the model has a chat template and the prompt neither is a
 * transcript nor contains turns of the template. `APPLY`: always. `NONE`: never.
 */
export type ChatTemplateMode = 'AUTO' | 'APPLY' | 'NONE';

/** The day that chat templates see as today by default: the one that Llama 3's templates use without a clock. */
export const defaultChatTemplateDate = '2024-07-26';

export interface EncodeOptions {
  /** The longest prompt plus response, including its end of turn, in tokens. */
  maxLength: number;
  truncationMode: TruncationMode;
  chatTemplate: ChatTemplateMode;
}

/** The version of `encodePair` and the tokenizers that it receives, for fingerprints. */
export const encodingVersion = 4;

/**
 * Encodes a pair so that the ids stand for exactly the rendered text, and so that the prompt's ids are those of the
 * prompt alone, as at inference. If a tokenizer would merge across the end of the prompt, both responses are encoded
 * separately. Throws RowError: WRONG_TYPE, NOT_REVERSIBLE, UNKNOWN_TOKEN, PROMPT_TOO_LONG, TOO_LONG,
 * IDENTICAL_RESPONSES.
 */
export async function encodePair(
  pair: PreferencePair,
  tokenizer: PairTokenizer,
  options: EncodeOptions,
): Promise<EncodedNow> {
  const { prompt: promptTurn, ...responseTurns } = templated(pair, tokenizer, options.chatTemplate);
  const isConversation = typeof promptTurn !== 'string';
  const promptText = tokenizer.renderPrompt(promptTurn);
  const turns = [responseTurns.chosen, responseTurns.rejected];
  const texts = turns.map((response) => tokenizer.renderResponse(promptTurn, response));
  const promptIds = await tokenizer.encode(promptText, isConversation);
  // Checked before the responses are encoded, since a prompt may be an entire book.
  if (options.truncationMode !== 'KEEP_END') refuseLongPrompt(promptIds, options);
  const joined: (Int32Array | undefined)[] = [];
  for (const text of texts) {
    joined.push(continuation(promptIds, await tokenizer.encode(promptText + text, isConversation)));
  }
  const separately = joined.includes(undefined);
  const responses: Int32Array[] = [];
  for (const [index, text] of texts.entries()) {
    const response = separately ? await tokenizer.encodeContinuation(text) : joined[index]!;
    if (!(await tokenizer.isText(concatenate(promptIds, response), promptText + text))) {
      throw new RowError('NOT_REVERSIBLE', 'the tokenizer does not preserve the text');
    }
    responses.push(response);
  }
  const [prompt, chosen, rejected] = truncate(promptIds, responses[0]!, responses[1]!, options);
  for (const ids of [prompt, chosen, rejected]) refuseUnknownTokens(ids, tokenizer.vocabularySize);
  if (Buffer.compare(bytesOf(chosen), bytesOf(rejected)) === 0) {
    throw new RowError('IDENTICAL_RESPONSES', 'chosen and rejected are the same tokens');
  }
  return {
    isConversation,
    pairDigest: pairDigest(pair),
    prompt,
    chosen,
    rejected,
    chosenDigest: responseDigest(prompt, chosen),
    rejectedDigest: responseDigest(prompt, rejected),
  };
}

/** The start of a turn in a transcript, such as those of HH-RLHF. */
const transcript = /(^|\n\n)(Human|Assistant|User|System): ?/;

/** The pair in the form in which it is rendered: a conversation, or plain texts. */
function templated(pair: PreferencePair, tokenizer: PairTokenizer, mode: ChatTemplateMode): PreferencePair {
  const { prompt, chosen, rejected } = pair;
  if (typeof prompt !== 'string') {
    if (mode !== 'NONE') return pair;
    throw new RowError('WRONG_TYPE', 'the pair consists of messages, but chat_template is NONE; set it to AUTO');
  }
  const isPlain = () => !tokenizer.rendersChats || transcript.test(prompt) || tokenizer.spellsTurns(prompt);
  if (mode === 'NONE' || (mode === 'AUTO' && isPlain())) return pair;
  const answer = (content: Turn) => (typeof content === 'string' ? [{ role: 'assistant', content }] : content);
  return { prompt: [{ role: 'user', content: prompt }], chosen: answer(chosen), rejected: answer(rejected) };
}

function refuseUnknownTokens(ids: Int32Array, vocabularySize = Infinity): void {
  const unknown = ids.find((id) => id >= vocabularySize);
  if (unknown === undefined) return;
  const rows = `the model's embedding has ${vocabularySize} rows`;
  throw new RowError('UNKNOWN_TOKEN', `the tokenizer produces the id ${unknown}, but ${rows}; leave that token out`);
}

/** sha256 of the token ids of a prompt and a response as little-endian int32, preceded by the prompt's length. */
export function responseDigest(prompt: Int32Array, response: Int32Array): Digest {
  return digestOf(bytesOf(concatenate(Int32Array.of(prompt.length), prompt, response)));
}

/** Returns what follows `start` in `whole`; undefined if `whole` does not begin with `start`, or nothing follows. */
function continuation(start: Int32Array, whole: Int32Array): Int32Array | undefined {
  const begins = whole.length > start.length && start.every((id, index) => whole[index] === id);
  return begins ? whole.slice(start.length) : undefined;
}

function truncate(
  prompt: Int32Array,
  chosen: Int32Array,
  rejected: Int32Array,
  options: EncodeOptions,
): [Int32Array, Int32Array, Int32Array] {
  const { maxLength, truncationMode } = options;
  const excess = prompt.length + Math.max(chosen.length, rejected.length) - maxLength;
  if (excess <= 0) return [prompt, chosen, rejected];
  if (truncationMode === 'KEEP_END' && excess < prompt.length) return [prompt.slice(excess), chosen, rejected];
  refuseLongPrompt(prompt, options);
  const room = maxLength - prompt.length;
  if (truncationMode === 'KEEP_START') return [prompt, chosen.slice(0, room), rejected.slice(0, room)];
  throw new RowError(
    'TOO_LONG',
    `prompt and response have ${maxLength + excess} tokens, but the limit is ${maxLength}`,
  );
}

function refuseLongPrompt(prompt: Int32Array, { maxLength }: EncodeOptions): void {
  if (prompt.length < maxLength) return;
  throw new RowError('PROMPT_TOO_LONG', `the prompt has ${prompt.length} tokens, but the limit is ${maxLength - 1}`);
}

function concatenate(...parts: Int32Array[]): Int32Array {
  const whole = new Int32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function bytesOf(ids: Int32Array): Uint8Array {
  return new Uint8Array(ids.buffer, ids.byteOffset, ids.byteLength);
}
