import { PairwiseError } from '@pairwise/errors';
import type { BpeTokenizer, PipelinePart } from './tokenizerJson.ts';
import { i32Array, text, textArray } from './values.ts';
import { tokenType } from './vocabulary.ts';
import type { Vocabulary } from './vocabulary.ts';

/**
 * A way of splitting text into words that llama.cpp knows by name (`tokenizer.ggml.pre`). The stock converter recognises
 * a tokenizer by a hash of the ids of a test text, so it fails on new vocabularies; the regular expression in tokenizer.json
 * works for every vocabulary. The expressions are those of llama.cpp, src/llama-vocab.cpp.
 */
interface WordSplit {
  pre: string;
  /** Whether llama.cpp keeps a word that is a token whole, whatever the merges say. */
  ignoresMerges: boolean;
  /** Whether llama.cpp's expression differs slightly from the tokenizer's. */
  approximate?: boolean;
}

const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const rest = ' ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';
const restWithSlash = rest.replace('[\\r\\n]*', '[\\r\\n/]*');
const optionalMark = '[^\\r\\n\\p{L}\\p{N}]?';
const upper = '[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]';
const lower = '[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]';

const splitsByExpression = new Map<string, WordSplit[]>([
  [
    `${contractions}|${optionalMark}\\p{L}+|\\p{N}{1,3}|${rest}`,
    [
      { pre: 'llama-bpe', ignoresMerges: true },
      { pre: 'smaug-bpe', ignoresMerges: false },
    ],
  ],
  [`${contractions}|${optionalMark}\\p{L}+|\\p{N}|${rest}`, [{ pre: 'qwen2', ignoresMerges: false }]],
  [
    `${optionalMark}${upper}*${lower}+|${optionalMark}${upper}+${lower}*|\\p{N}|${restWithSlash}`,
    [{ pre: 'tekken', ignoresMerges: true, approximate: true }],
  ],
]);

/** A byte-level BPE vocabulary, which writes bytes as printable characters like GPT-2: `model=gpt2`. */
export function byteLevelVocabulary(tokenizer: BpeTokenizer, vocabSize: number): Vocabulary {
  const split = wordSplitOf(tokenizer);
  const rows = Array.from({ length: vocabSize }, (_, id) => rowOf(tokenizer, id));
  return {
    metadata: new Map([
      ['tokenizer.ggml.model', text('gpt2')],
      ['tokenizer.ggml.pre', text(split.pre)],
      ['tokenizer.ggml.tokens', textArray(rows.map((row) => row.text))],
      ['tokenizer.ggml.token_type', i32Array(rows.map((row) => row.type))],
      ['tokenizer.ggml.merges', textArray(tokenizer.merges.map(mergeText))],
    ]),
    caveats: [
      ...(split.ignoresMerges === tokenizer.ignoreMerges
        ? []
        : [`llama.cpp's "${split.pre}" differs from the tokenizer in ignore_merges`]),
      ...(split.approximate
        ? ['llama.cpp splits words differently at combining marks and at capitals beyond A to Z']
        : []),
      ...tokenizer.normalizers.map(normalizerCaveat),
    ],
  };
}

/** A space separates the two tokens, so a space inside a token is written as in GPT-2. */
function mergeText([left, right]: readonly [string, string]): string {
  return `${left.replaceAll(' ', '\u0120')} ${right.replaceAll(' ', '\u0120')}`;
}

function rowOf(tokenizer: BpeTokenizer, id: number): { text: string; type: number } {
  const token = tokenizer.tokens.get(id);
  if (token === undefined) return { text: `[PAD${id}]`, type: tokenType.unused };
  const added = tokenizer.addedTokens.get(id);
  if (!added) return { text: token, type: tokenType.normal };
  // Some models do not mark their control tokens as special. Like the stock converter, recognise them by their text.
  const isControl = added.special || /^<\|.*\|>$/.test(token) || token === '<pad>' || token === '<mask>';
  return { text: token, type: isControl ? tokenType.control : tokenType.userDefined };
}

function wordSplitOf(tokenizer: BpeTokenizer): WordSplit {
  const parts = tokenizer.preTokenizers;
  const bytes = parts.at(-1);
  if (bytes?.['type'] !== 'ByteLevel') throw unsupported(parts);
  if (bytes['add_prefix_space'] !== false) {
    throw new PairwiseError(
      'UNSUPPORTED_FORMAT',
      'tokenizer.json: llama.cpp does not support add_prefix_space of ByteLevel; it must be false',
    );
  }
  const [first, ...others] = parts.slice(0, -1);
  const usesOwnExpression = bytes['use_regex'] !== false;
  if (others.length > 0) throw unsupported(parts);
  if (usesOwnExpression) {
    if (first === undefined) return { pre: 'gpt-2', ignoresMerges: false };
    if (first['type'] === 'Digits' && first['individual_digits'] === true)
      return { pre: 'smollm', ignoresMerges: false };
    throw unsupported(parts);
  }
  const pattern = first?.['pattern'] as { Regex?: unknown } | undefined;
  const splitsWords = first?.['type'] === 'Split' && first['behavior'] === 'Isolated' && first['invert'] !== true;
  const candidates = splitsWords ? splitsByExpression.get(String(pattern?.Regex)) : undefined;
  const exact = candidates?.find(({ ignoresMerges }) => ignoresMerges === tokenizer.ignoreMerges);
  const split = exact ?? candidates?.[0];
  if (!split) throw unsupported(parts);
  return split;
}

function normalizerCaveat(part: PipelinePart): string {
  const kind = String(part['type']);
  if (['NFC', 'NFKC', 'NFD', 'NFKD'].includes(kind))
    return `llama.cpp does not apply the tokenizer's ${kind} normalisation of Unicode`;
  throw new PairwiseError('UNSUPPORTED_FORMAT', `tokenizer.json: llama.cpp does not support the normalizer ${kind}`);
}

function unsupported(parts: readonly PipelinePart[]): PairwiseError {
  const seen = parts.map(({ type }) => String(type)).join(', ') || 'none';
  return new PairwiseError(
    'UNSUPPORTED_FORMAT',
    `tokenizer.json: llama.cpp does not support this pre_tokenizer (${seen}); it supports those of GPT-2, SmolLM, Llama 3, Qwen 2 and Mistral NeMo`,
  );
}
