import { noteRefusal, RowError, type EncodedNow, type EncodeOptions, type Report } from '@pairwise/preference';
import type { PreferencePair } from '@pairwise/preference';
import type { Tokenizer } from '@pairwise/tokenizer';

/** The number of pairs that the tokenizer works on at the same time, enough to keep its threads busy. */
const maxPairs = 64;
/**
 * The most characters in these pairs: a million takes 0.4 GiB of the tokenizer's memory. A larger pair is encoded
 * alone.
 */
const maxCharacters = 1_000_000;

/** Encodes pairs in order. A pair that cannot be kept is left out; `report` counts it under its position, from 1. */
export async function* encodePairs(
  pairs: AsyncIterable<PreferencePair>,
  tokenizer: Tokenizer,
  options: EncodeOptions,
  report: Report,
): AsyncGenerator<EncodedNow> {
  let position = 0;
  for await (const encoded of inOrder(pairs, (pair) => encodePair(pair, tokenizer, options))) {
    position += 1;
    if (encoded instanceof RowError) {
      noteRefusal(report, encoded, position);
      continue;
    }
    report.acceptedCount += 1;
    yield encoded;
  }
}

async function encodePair(pair: PreferencePair, tokenizer: Tokenizer, options: EncodeOptions) {
  try {
    return await tokenizer.encodePair(pair, options);
  } catch (error) {
    if (error instanceof RowError) return error;
    throw error;
  }
}

/** Runs `encode` on several pairs at a time and returns the results in the order of the pairs. */
async function* inOrder<T>(
  pairs: AsyncIterable<PreferencePair>,
  encode: (pair: PreferencePair) => Promise<T>,
): AsyncGenerator<T> {
  const running: { result: Promise<T>; characters: number }[] = [];
  let characters = 0;
  const take = () => {
    const first = running.shift()!;
    characters -= first.characters;
    return first.result;
  };
  for await (const pair of pairs) {
    const more = charactersOf(pair);
    while (running.length >= maxPairs || (running.length > 0 && characters + more > maxCharacters)) yield await take();
    const result = encode(pair);
    // If an earlier pair fails, this result is never awaited.
    result.catch(() => undefined);
    running.push({ result, characters: more });
    characters += more;
  }
  while (running.length > 0) yield await take();
}

function charactersOf({ prompt, chosen, rejected }: PreferencePair): number {
  const texts = [prompt, chosen, rejected].flatMap((turn) =>
    typeof turn === 'string' ? [turn] : turn.map(({ content }) => content),
  );
  return texts.reduce((sum, { length }) => sum + length, 0);
}
