import { PairwiseError } from '@pairwise/errors';
import type { BpeTokenizer, PipelinePart } from './tokenizerJson.ts';

/**
 * A way of splitting text into words that llama.cpp knows by name (`tokenizer.ggml.pre`). The stock converter recognises
 * a tokenizer by a hash of the ids of a test text, so it fails on new vocabularies; the regular expressions in
 * tokenizer.json work for every vocabulary. The expressions are those of llama.cpp, src/llama-vocab.cpp.
 */
interface WordSplit {
  pre: string;
  /** The expressions that are applied one after the other, and where the text becomes bytes. */
  steps: readonly string[];
  /** Whether llama.cpp keeps a word that is a token whole, whatever the merges say. */
  ignoresMerges?: boolean;
  /** Whether llama.cpp's expression differs slightly from the tokenizer's. */
  approximate?: boolean;
}

/** Steps that `tokenizer.json` does not write as an expression. */
const bytes = 'bytes';
const gpt2 = 'words of GPT-2, then bytes';
const punctuation = 'punctuation';
const digit = '\\p{N}';

const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const rest = ' ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';
const restWithSlash = rest.replace('[\\r\\n]*', '[\\r\\n/]*');
const optionalMark = '[^\\r\\n\\p{L}\\p{N}]?';
const upper = '[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]';
const lower = '[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]';
const llama3 = `${contractions}|${optionalMark}\\p{L}+|\\p{N}{1,3}|${rest}`;

/** Letters that have an upper and a lower case, as DeepSeek writes them. Escaped are those that Unicode normalisation changes. */
const casedLetters =
  'A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\u1f7dᾀ-ᾴᾶ-ᾼ\u1fbeῂ-ῄῆ-ῌῐ-\u1fd3ῖ-\u1fdbῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212a-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃';
const deepSeekCjk = '[一-龥ࠀ-一가-퟿]+';
const deepSeekWords =
  '[!"#$%&\'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';

const wordSplits: readonly WordSplit[] = [
  { pre: 'gpt-2', steps: [gpt2] },
  // StarCoder and Granite too.
  { pre: 'smollm', steps: [digit, gpt2] },
  { pre: 'llama-bpe', steps: [llama3, bytes], ignoresMerges: true },
  // GPT-4 and what follows it, such as OLMo 2 and Phi-4.
  { pre: 'smaug-bpe', steps: [llama3, bytes] },
  { pre: 'qwen2', steps: [`${contractions}|${optionalMark}\\p{L}+|\\p{N}|${rest}`, bytes] },
  {
    pre: 'tekken',
    steps: [`${optionalMark}${upper}*${lower}+|${optionalMark}${upper}+${lower}*|\\p{N}|${restWithSlash}`, bytes],
    ignoresMerges: true,
    approximate: true,
  },
  {
    pre: 'gpt-4o',
    steps: [
      `${optionalMark}${upper}*${lower}+${contractions}?|${optionalMark}${upper}+${lower}*${contractions}?|\\p{N}{1,3}|${restWithSlash}`,
      bytes,
    ],
    approximate: true,
  },
  {
    pre: 'deepseek-llm',
    steps: [
      '[\\r\\n]',
      `\\s?[${casedLetters}]+`,
      '\\s?[!-/:-~！-／：-～‘-‟\u3000-。]+',
      '\\s+$',
      deepSeekCjk,
      digit,
      bytes,
    ],
  },
  { pre: 'deepseek-coder', steps: ['[\\r\\n]', '\\s?\\p{L}+', '\\s?\\p{P}+', deepSeekCjk, digit, bytes] },
  { pre: 'deepseek-v3', steps: ['\\p{N}{1,3}', '[一-龥\u3040-ゟ゠-ヿ]+', deepSeekWords, bytes] },
  { pre: 'falcon', steps: [punctuation, gpt2, `${digit}+`, '[0-9][0-9][0-9]'] },
];

/** How llama.cpp splits text like a byte-level tokenizer. Throws UNSUPPORTED_FORMAT if it cannot. */
export function wordSplitOf({ preTokenizers: parts, ignoreMerges }: BpeTokenizer): WordSplit {
  if (parts.some((part) => part['type'] === 'ByteLevel' && part['add_prefix_space'] !== false)) {
    throw new PairwiseError(
      'UNSUPPORTED_FORMAT',
      'tokenizer.json: llama.cpp does not support add_prefix_space of ByteLevel; it must be false',
    );
  }
  const steps = JSON.stringify(parts.map(stepOf));
  const candidates = wordSplits.filter((split) => JSON.stringify(split.steps) === steps);
  const exact = candidates.find(({ ignoresMerges = false }) => ignoresMerges === ignoreMerges);
  const split = exact ?? candidates[0];
  if (split !== undefined) return split;
  const seen = parts.map(({ type }) => String(type)).join(', ') || 'none';
  throw new PairwiseError(
    'UNSUPPORTED_FORMAT',
    `tokenizer.json: llama.cpp does not support this pre_tokenizer (${seen}); it supports those of GPT-2, GPT-4, GPT-4o, StarCoder, SmolLM, Granite, Llama 3, OLMo 2, Qwen 2, Mistral NeMo, DeepSeek and Falcon`,
  );
}

/** What a part of a tokenizer does, as a step of a `WordSplit`; null if it is never one. */
function stepOf(part: PipelinePart): string | null {
  switch (part['type']) {
    case 'ByteLevel':
      return part['use_regex'] === false ? bytes : gpt2;
    case 'Digits':
      return part['individual_digits'] === true ? digit : `${digit}+`;
    case 'Punctuation':
      return part['behavior'] === 'Contiguous' ? punctuation : null;
    case 'Split':
      return splitStep(part);
    default:
      return null;
  }
}

function splitStep({ pattern, behavior, invert }: PipelinePart): string | null {
  const expression = (pattern as { Regex?: unknown } | undefined)?.Regex;
  if (typeof expression !== 'string') return null;
  const isolates = behavior === 'Isolated' && invert !== true;
  // Isolates the words and removes what is between them, which is nothing if the words may be spaces.
  const removesNothing = behavior === 'Removed' && invert === true && expression.endsWith('|\\s+');
  if (!isolates && !removesNothing) return null;
  // Some files have the characters themselves.
  return expression.replaceAll('\r', '\\r').replaceAll('\n', '\\n');
}
