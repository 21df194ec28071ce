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

/** What encoding needs of a model's tokenizer and chat template. */
export interface PairTokenizer {
  /** A prompt as the model sees it, up to where a response begins. */
  renderPrompt(prompt: Turn): string;
  /**
   * A response to a prompt, with its end of turn, which a text may bring itself. Throws RowError if the template does not
   * just append it.
   */
  renderResponse(prompt: Turn, response: Turn): string;
  /** Ids of a text that begins a sequence; a BOS comes first where the model has one, and never twice. */
  encode(text: string): Promise<Int32Array>;
  /** Ids of a text that follows another, without anything that belongs to a beginning. */
  encodeContinuation(text: string): Promise<Int32Array>;
  /** Whether ids that begin a sequence stand for exactly this text. */
  isText(ids: Int32Array, text: string): Promise<boolean>;
}

/** How a pair longer than the limit is treated: left out, responses lose their ends, prompts their beginnings. */
export type TruncationMode = 'REFUSE' | 'KEEP_START' | 'KEEP_END';

export interface EncodingLimits {
  /** Longest prompt plus response with end of turn, in tokens. */
  maxLength: number;
  truncationMode: TruncationMode;
}

/** Version of what `encodePair` and the tokenizers that it is given do, for fingerprints. */
export const encodingVersion = 2;

/**
 * Encodes a pair so that the ids stand for exactly the rendered text and the prompt's ids are those of the prompt alone,
 * as they are at inference. Where a tokenizer would merge across the boundary after the prompt, both responses are encoded
 * apart from it. Throws RowError: NOT_REVERSIBLE, PROMPT_TOO_LONG, TOO_LONG, IDENTICAL_RESPONSES.
 */
export async function encodePair(
  pair: PreferencePair,
  tokenizer: PairTokenizer,
  limits: EncodingLimits,
): Promise<EncodedPair> {
  const promptText = tokenizer.renderPrompt(pair.prompt);
  const texts = [pair.chosen, pair.rejected].map((response) => tokenizer.renderResponse(pair.prompt, response));
  const promptIds = await tokenizer.encode(promptText);
  // Before the responses cost anything: a prompt may be a whole book.
  if (limits.truncationMode !== 'KEEP_END') refuseLongPrompt(promptIds, limits);
  const joined: (Int32Array | undefined)[] = [];
  for (const text of texts) joined.push(continuation(promptIds, await tokenizer.encode(promptText + text)));
  const apart = joined.includes(undefined);
  const responses: Int32Array[] = [];
  for (const [index, text] of texts.entries()) {
    const response = apart ? await tokenizer.encodeContinuation(text) : joined[index]!;
    if (!(await tokenizer.isText(concatenate(promptIds, response), promptText + text))) {
      throw new RowError('NOT_REVERSIBLE', 'the tokenizer cannot keep the text as it is');
    }
    responses.push(response);
  }
  const [prompt, chosen, rejected] = truncate(promptIds, responses[0]!, responses[1]!, limits);
  if (Buffer.compare(bytesOf(chosen), bytesOf(rejected)) === 0) {
    throw new RowError('IDENTICAL_RESPONSES', 'chosen and rejected are the same tokens');
  }
  return {
    pairDigest: pairDigest(pair),
    prompt,
    chosen,
    rejected,
    chosenDigest: responseDigest(prompt, chosen),
    rejectedDigest: responseDigest(prompt, rejected),
  };
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
  limits: EncodingLimits,
): [Int32Array, Int32Array, Int32Array] {
  const { maxLength, truncationMode } = limits;
  const excess = prompt.length + Math.max(chosen.length, rejected.length) - maxLength;
  if (excess <= 0) return [prompt, chosen, rejected];
  if (truncationMode === 'KEEP_END' && excess < prompt.length) return [prompt.slice(excess), chosen, rejected];
  refuseLongPrompt(prompt, limits);
  const room = maxLength - prompt.length;
  if (truncationMode === 'KEEP_START') return [prompt, chosen.slice(0, room), rejected.slice(0, room)];
  throw new RowError('TOO_LONG', `prompt and response have ${maxLength + excess} tokens of at most ${maxLength}`);
}

function refuseLongPrompt(prompt: Int32Array, { maxLength }: EncodingLimits): void {
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
