import { digestOf, type Digest } from '@pairwise/fingerprint';
import { pairDigest, type PreferencePair, type Turn } from './pair.ts';
import { RowError } from './rows.ts';

/** A pair as token ids. Responses include their end of turn; both follow exactly the same prompt ids. */
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
  /** Whether the chat template rendered it; otherwise it is plain text. */
  isConversation: boolean;
}

/** What encoding needs of a model's tokenizer and chat template. */
export interface PairTokenizer {
  /** Whether the model has a chat template. */
  rendersChats: boolean;
  /** Whether a text contains special tokens of the model. */
  hasSpecialTokens(text: string): boolean;
  /** A prompt as the model sees it, up to where a response begins. */
  renderPrompt(prompt: Turn): string;
  /**
   * A response to a prompt, with its end of turn, which a text may bring itself. Throws RowError if the template does not
   * just append it.
   */
  renderResponse(prompt: Turn, response: Turn): string;
  /**
   * Ids of a text that begins a sequence. If it is not rendered by a chat template, a BOS comes first where the model has
   * one, and never twice.
   */
  encode(text: string, isConversation: boolean): Promise<Int32Array>;
  /** Ids of a text that follows another, without anything that belongs to a beginning. */
  encodeContinuation(text: string): Promise<Int32Array>;
  /** Whether ids that begin a sequence stand for exactly this text. */
  isText(ids: Int32Array, text: string): Promise<boolean>;
  /** The tokens that the model has an embedding for; undefined if that is unknown. */
  vocabularySize: number | undefined;
}

/** How a pair longer than the limit is treated: left out, responses lose their ends, prompts their beginnings. */
export type TruncationMode = 'REFUSE' | 'KEEP_START' | 'KEEP_END';

/**
 * Whether a pair of texts becomes a conversation: `AUTO`, if the model has a chat template and the prompt is neither a
 * transcript nor written with special tokens already; always; or never.
 */
export type ChatTemplateMode = 'AUTO' | 'APPLY' | 'NONE';

export interface EncodeOptions {
  /** Longest prompt plus response with end of turn, in tokens. */
  maxLength: number;
  truncationMode: TruncationMode;
  chatTemplate: ChatTemplateMode;
}

/** Version of what `encodePair` and the tokenizers that it is given do, for fingerprints. */
export const encodingVersion = 3;

/**
 * Encodes a pair so that the ids stand for exactly the rendered text and the prompt's ids are those of the prompt alone,
 * as they are at inference. Where a tokenizer would merge across the boundary after the prompt, both responses are encoded
 * apart from it. Throws RowError: WRONG_TYPE, NOT_REVERSIBLE, UNKNOWN_TOKEN, PROMPT_TOO_LONG, TOO_LONG,
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
  // Before the responses cost anything: a prompt may be a whole book.
  if (options.truncationMode !== 'KEEP_END') refuseLongPrompt(promptIds, options);
  const joined: (Int32Array | undefined)[] = [];
  for (const text of texts) {
    joined.push(continuation(promptIds, await tokenizer.encode(promptText + text, isConversation)));
  }
  const apart = joined.includes(undefined);
  const responses: Int32Array[] = [];
  for (const [index, text] of texts.entries()) {
    const response = apart ? await tokenizer.encodeContinuation(text) : joined[index]!;
    if (!(await tokenizer.isText(concatenate(promptIds, response), promptText + text))) {
      throw new RowError('NOT_REVERSIBLE', 'the tokenizer cannot keep the text as it is');
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

/** Turns of a transcript, such as those of HH-RLHF. */
const transcript = /(^|\n\n)(Human|Assistant|User|System): ?/;

/** The pair as it is rendered: a conversation, or plain texts. */
function templated(pair: PreferencePair, tokenizer: PairTokenizer, mode: ChatTemplateMode): PreferencePair {
  const { prompt, chosen, rejected } = pair;
  if (typeof prompt !== 'string') {
    if (mode !== 'NONE') return pair;
    throw new RowError('WRONG_TYPE', 'the pair is of messages, but chat_template is NONE; set it to AUTO');
  }
  const isPlain = () => !tokenizer.rendersChats || transcript.test(prompt) || tokenizer.hasSpecialTokens(prompt);
  if (mode === 'NONE' || (mode === 'AUTO' && isPlain())) return pair;
  const answer = (content: Turn) => (typeof content === 'string' ? [{ role: 'assistant', content }] : content);
  return { prompt: [{ role: 'user', content: prompt }], chosen: answer(chosen), rejected: answer(rejected) };
}

function refuseUnknownTokens(ids: Int32Array, vocabularySize = Infinity): void {
  const stranger = ids.find((id) => id >= vocabularySize);
  if (stranger === undefined) return;
  const rows = `the model's embedding has ${vocabularySize} rows`;
  throw new RowError('UNKNOWN_TOKEN', `the tokenizer gives the id ${stranger}, but ${rows}; leave that token out`);
}

/** sha256 of the exact token ids of a prompt and a response, as little-endian int32, the prompt's length first. */
export function responseDigest(prompt: Int32Array, response: Int32Array): Digest {
  return digestOf(bytesOf(concatenate(Int32Array.of(prompt.length), prompt, response)));
}

/** What follows `start` in `whole`, or undefined if that does not begin with it. */
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
  throw new RowError('TOO_LONG', `prompt and response have ${maxLength + excess} tokens of at most ${maxLength}`);
}

function refuseLongPrompt(prompt: Int32Array, { maxLength }: EncodeOptions): void {
  if (prompt.length < maxLength) return;
  throw new RowError('PROMPT_TOO_LONG', `the prompt has ${prompt.length} tokens of at most ${maxLength - 1}`);
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
