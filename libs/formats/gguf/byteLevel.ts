import { PairwiseError } from '@pairwise/errors';
import type { BpeTokenizer, PipelinePart } from './tokenizerJson.ts';
import { i32Array, text, textArray } from './values.ts';
import { tokenType } from './vocabulary.ts';
import type { Vocabulary } from './vocabulary.ts';
import { wordSplitOf } from './wordSplit.ts';

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
      ...((split.ignoresMerges ?? false) === tokenizer.ignoreMerges
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

function normalizerCaveat(part: PipelinePart): string {
  const kind = String(part['type']);
  if (['NFC', 'NFKC', 'NFD', 'NFKD'].includes(kind))
    return `llama.cpp does not apply the tokenizer's ${kind} normalisation of Unicode`;
  throw new PairwiseError('UNSUPPORTED_FORMAT', `tokenizer.json: llama.cpp does not support the normalizer ${kind}`);
}
