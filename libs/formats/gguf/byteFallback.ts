import { PairwiseError } from '@pairwise/errors';
import type { BpeTokenizer, PipelinePart } from './tokenizerJson.ts';
import { bool, f32Array, i32Array, text, textArray } from './values.ts';
import { tokenType } from './vocabulary.ts';
import type { Vocabulary } from './vocabulary.ts';

/** The character that sentencepiece writes for a space. */
const meta = '\u2581';
const byteToken = /^<0x[0-9A-F]{2}>$/;

/**
 * A sentencepiece-like vocabulary (BPE over characters, with bytes for characters without a token), `model=llama`.
 * llama.cpp has no merge list for it: it joins the two neighbours whose joined text is the token with the best score.
 * So the score of a token is minus the rank of the first merge that makes it.
 */
export function byteFallbackVocabulary(
  source: BpeTokenizer,
  { vocabSize, chatTemplate }: { vocabSize: number; chatTemplate?: string | undefined },
): Vocabulary {
  // A token of spaces that is searched in the raw text is never found there, because its spaces are those of the normalizer:
  // merges make it, as in Gemma.
  const found = [...source.addedTokens].filter(([, { content, normalized }]) => normalized || !content.includes(meta));
  const tokenizer = { ...source, addedTokens: new Map(found) };
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
  // llama.cpp searches the raw text for these, before it replaces the spaces.
  if (added) return { text: token.replaceAll(meta, ' '), score: -1000, type: tokenType.userDefined };
  if (byteToken.test(token)) return { text: token, score: 0, type: tokenType.byte };
  return { text: token, score: 0 - (ranks.get(token) ?? tokenizer.merges.length), type: tokenType.normal };
}

/**
 * Whether llama.cpp must put a space before a text. It also puts one after every special token, as tokenizers with a
 * `Prepend` normalizer do. Metaspace's scheme `first` means only the start of the text. So a chat, which starts with a special
 * token, does not get a space, and plain text does.
 */
function spacePrefix(tokenizer: BpeTokenizer, isChat: boolean): { prefix: boolean; caveats: string[] } {
  let prefix = false;
  const caveats: string[] = [];
  for (const part of tokenizer.normalizers) {
    if (part['type'] === 'Prepend' && part['prepend'] === meta) prefix = true;
    else if (['NFC', 'NFKC', 'NFD', 'NFKD'].includes(String(part['type']))) {
      caveats.push(`llama.cpp does not apply the tokenizer's ${String(part['type'])} normalisation of Unicode`);
    } else if (!writesSpaces(part)) throw unsupported('normalizer', part);
  }
  for (const part of tokenizer.preTokenizers) {
    // Gemma splits at spaces, but its normalizer has replaced them all.
    if (splitsAtSpaces(part) && tokenizer.normalizers.some(writesSpaces)) continue;
    if (part['type'] !== 'Metaspace') throw unsupported('pre_tokenizer', part);
    const scheme = part['prepend_scheme'] ?? (part['add_prefix_space'] === false ? 'never' : 'always');
    if (scheme === 'first')
      caveats.push(
        `llama.cpp handles the leading space differently ${isChat ? 'in text without' : 'after'} special tokens`,
      );
    prefix ||= scheme === 'always' || (scheme === 'first' && !isChat);
  }
  return { prefix, caveats };
}

function writesSpaces(part: PipelinePart): boolean {
  const pattern = part['pattern'] as { String?: unknown } | undefined;
  return part['type'] === 'Replace' && pattern?.String === ' ' && part['content'] === meta;
}

function splitsAtSpaces(part: PipelinePart): boolean {
  const pattern = part['pattern'] as { String?: unknown } | undefined;
  return part['type'] === 'Split' && pattern?.String === ' ';
}

function unsupported(kind: string, part: PipelinePart): PairwiseError {
  return new PairwiseError(
    'UNSUPPORTED_FORMAT',
    `tokenizer.json: llama.cpp does not support the ${kind} ${String(part['type'])} in a byte-fallback tokenizer`,
  );
}

/** llama.cpp joins any two pieces whose joined text is a token; the tokenizer joins only those in its merge list. */
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
  const tokens = unlisted.length === 1 ? '1 token' : `${unlisted.length} tokens`;
  return [`llama.cpp may form ${tokens} by merges that the tokenizer does not have`];
}

/**
 * For each text that begins with others of the list, the longest of those; sorting puts them next to each other. All
 * beginnings of a token follow from this in time linear in its length, whereas trying every cut takes quadratic time.
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

/** The lengths of the token's beginnings that merging can form: those that are pieces, and its first character. */
function reachable(token: string, begins: ReadonlyMap<string, string>): Set<number> {
  const lengths = new Set([/^./su.exec(token)?.[0].length ?? 0]);
  for (let part = begins.get(token); part !== undefined; part = begins.get(part)) lengths.add(part.length);
  lengths.delete(token.length);
  return lengths;
}

function reversed(text: string): string {
  return Array.from(text).reverse().join('');
}
