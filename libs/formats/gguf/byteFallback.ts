import { PairwiseError } from '@pairwise/errors';
import type { BpeTokenizer, Step } from './tokenizerJson.ts';
import { bool, f32Array, i32Array, text, textArray } from './values.ts';
import { tokenType } from './vocabulary.ts';
import type { Vocabulary } from './vocabulary.ts';

/** What sentencepiece writes for a space. */
const meta = '\u2581';
const byteToken = /^<0x[0-9A-F]{2}>$/;

/**
 * A sentencepiece-like vocabulary (BPE over characters, bytes for characters without a token), `model=llama`.
 * llama.cpp has no merge list there: of two neighbours whose joint text is a token it joins those of the best score.
 * So a token's score is minus the rank of the first merge that makes it.
 */
export function byteFallbackVocabulary(
  tokenizer: BpeTokenizer,
  { vocabSize, chatTemplate }: { vocabSize: number; chatTemplate?: string | undefined },
): Vocabulary {
  const ranks = new Map<string, number>();
  for (const [rank, [left, right]] of tokenizer.merges.entries()) {
    if (!ranks.has(left + right)) ranks.set(left + right, rank);
  }
  const rows = Array.from({ length: vocabSize }, (_, id) => rowOf(tokenizer, ranks, id));
  const space = spacePrefix(tokenizer, chatTemplate !== undefined);
  return {
    metadata: new Map([
      ['tokenizer.ggml.model', text('llama')],
      ['tokenizer.ggml.pre', text('default')],
      ['tokenizer.ggml.tokens', textArray(rows.map((row) => row.text))],
      ['tokenizer.ggml.scores', f32Array(rows.map((row) => row.score))],
      ['tokenizer.ggml.token_type', i32Array(rows.map((row) => row.type))],
      ['tokenizer.ggml.add_space_prefix', bool(space.prefix)],
    ]),
    caveats: [...space.caveats, ...mergeCaveats(tokenizer)],
  };
}

function rowOf(tokenizer: BpeTokenizer, ranks: ReadonlyMap<string, number>, id: number) {
  const token = tokenizer.tokens.get(id);
  if (token === undefined) return { text: `[PAD${id}]`, score: -10000, type: tokenType.unused };
  if (token === tokenizer.unkToken) return { text: token, score: 0, type: tokenType.unknown };
  const added = tokenizer.addedTokens.get(id);
  if (added?.special) return { text: token, score: 0, type: tokenType.control };
  // llama.cpp looks for these in the raw text, before it writes its spaces as sentencepiece does.
  if (added) return { text: token.replaceAll(meta, ' '), score: -1000, type: tokenType.userDefined };
  if (byteToken.test(token)) return { text: token, score: 0, type: tokenType.byte };
  return { text: token, score: 0 - (ranks.get(token) ?? tokenizer.merges.length), type: tokenType.normal };
}

/**
 * Whether a text gets a leading space. llama.cpp puts it after every special token too, as tokenizers with a `Prepend`
 * normalizer do. Metaspace's scheme `first` means only the very start of a text: then a chat, which starts with a
 * special token, has none, and plain text has one.
 */
function spacePrefix(tokenizer: BpeTokenizer, isChat: boolean): { prefix: boolean; caveats: string[] } {
  let prefix = false;
  const caveats: string[] = [];
  for (const step of tokenizer.normalizers) {
    if (step['type'] === 'Prepend' && step['prepend'] === meta) prefix = true;
    else if (['NFC', 'NFKC', 'NFD', 'NFKD'].includes(String(step['type']))) {
      caveats.push(`llama.cpp leaves out the tokenizer's ${String(step['type'])} normalisation of Unicode`);
    } else if (!writesSpaces(step)) throw unsupported('normalizer', step);
  }
  for (const step of tokenizer.preTokenizers) {
    if (step['type'] !== 'Metaspace') throw unsupported('pre_tokenizer', step);
    const scheme = step['prepend_scheme'] ?? (step['add_prefix_space'] === false ? 'never' : 'always');
    if (scheme === 'first')
      caveats.push(`llama.cpp's leading space differs ${isChat ? 'for text without' : 'after'} special tokens`);
    prefix ||= scheme === 'always' || (scheme === 'first' && !isChat);
  }
  return { prefix, caveats };
}

function writesSpaces(step: Step): boolean {
  const pattern = step['pattern'] as { String?: unknown } | undefined;
  return step['type'] === 'Replace' && pattern?.String === ' ' && step['content'] === meta;
}

function unsupported(part: string, step: Step): PairwiseError {
  return new PairwiseError(
    'UNSUPPORTED_FORMAT',
    `tokenizer.json: llama.cpp has nothing like the ${part} ${String(step['type'])} of a byte-fallback tokenizer`,
  );
}

/** llama.cpp joins any two pieces whose joint text is a token; the tokenizer joins only those in its merge list. */
function mergeCaveats(tokenizer: BpeTokenizer): string[] {
  const merges = new Set(tokenizer.merges.map(([left, right]) => `${left}\n${right}`));
  const pieces = new Set(
    [...tokenizer.tokens].filter(([id]) => !tokenizer.addedTokens.has(id)).map(([, token]) => token),
  );
  const [begins, ends] = [beginningsOf([...pieces]), beginningsOf([...pieces].map(reversed))];
  const hasUnlistedSplit = (token: string) => {
    const lefts = reachable(token, begins);
    const rights = reachable(reversed(token), ends);
    return [...lefts].some((cut) => {
      const listed = () => merges.has(`${token.slice(0, cut)}\n${token.slice(cut)}`);
      return rights.has(token.length - cut) && !listed();
    });
  };
  const unlisted = [...pieces].filter((token) => !byteToken.test(token) && hasUnlistedSplit(token));
  if (unlisted.length === 0) return [];
  return [`llama.cpp may reach ${unlisted.length} tokens by merges that the tokenizer does not have`];
}

/**
 * For each text that begins with another one the longest such: in the order of texts, what begins alike stands together.
 * Every token's beginnings follow from it in time that its length bounds, which trying every cut would not.
 */
function beginningsOf(texts: readonly string[]): Map<string, string> {
  const found = new Map<string, string>();
  const open: string[] = [];
  for (const text of texts.toSorted()) {
    while (open.length > 0 && !text.startsWith(open.at(-1)!)) open.pop();
    if (open.length > 0) found.set(text, open.at(-1)!);
    open.push(text);
  }
  return found;
}

/** Lengths of the parts that a token begins with and that can be reached: pieces, and its first character. */
function reachable(token: string, begins: ReadonlyMap<string, string>): Set<number> {
  const lengths = new Set([/^./su.exec(token)?.[0].length ?? 0]);
  for (let part = begins.get(token); part !== undefined; part = begins.get(part)) lengths.add(part.length);
  lengths.delete(token.length);
  return lengths;
}

/** The characters from the last to the first. */
function reversed(text: string): string {
  return Array.from(text).reverse().join('');
}
