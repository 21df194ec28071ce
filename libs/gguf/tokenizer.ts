import { PairwiseError } from '@pairwise/errors';
import { byteLevelVocabulary } from './byte-level.ts';
import { bytefallbackVocabulary } from './byte-fallback.ts';
import { parseBpeTokenizer, record } from './tokenizer-json.ts';
import type { BpeTokenizer } from './tokenizer-json.ts';
import { bool, text, u32 } from './values.ts';
import type { GgufValue } from './values.ts';
import type { GgufTokenizer } from './vocabulary.ts';

export interface TokenizerFiles {
  /** `tokenizer.json`, parsed. */
  tokenizer: unknown;
  /** `tokenizer_config.json`, parsed; undefined where the model has none. */
  tokenizerConfig?: unknown;
  /** The model's chat template (Jinja), wherever it was found. */
  chatTemplate?: string | undefined;
  /** Rows of the embedding. */
  vocabSize: number;
  /** Ids that `config.json` gives, for models whose tokenizer_config.json names no such token. */
  bosTokenId?: number | undefined;
  eosTokenId?: number | undefined;
  /** The token that ends a turn, where it is not the eos token. */
  endOfTurnTokenId?: number | undefined;
}

/**
 * The tokenizer of a model as GGUF metadata, as llama.cpp's `convert_hf_to_gguf.py` writes it, save that scores of
 * byte-fallback vocabularies are the merge ranks, so that llama.cpp merges in the tokenizer's own order.
 * Throws `UNSUPPORTED_FORMAT` for tokenizers that llama.cpp cannot follow, `INVALID_MODEL` for broken files and those
 * without an eos token, where llama.cpp would take some token of its own for it.
 */
export function ggufTokenizer(files: TokenizerFiles): GgufTokenizer {
  const tokenizer = parseBpeTokenizer(files.tokenizer);
  const config = record(files.tokenizerConfig ?? {}, 'tokenizer_config.json');
  const fitted = fitVocabulary(tokenizer, files.vocabSize);
  const vocabulary = tokenizer.byteFallback
    ? bytefallbackVocabulary(fitted.tokenizer, files)
    : byteLevelVocabulary(fitted.tokenizer, files.vocabSize);
  const metadata = new Map(vocabulary.metadata);
  refuseDuplicates(metadata.get('tokenizer.ggml.tokens')!.value as readonly string[]);
  for (const [key, value] of specialTokens(tokenizer, config, files)) metadata.set(key, value);
  if (files.chatTemplate !== undefined) metadata.set('tokenizer.chat_template', text(files.chatTemplate));
  const stripping = [...tokenizer.addedTokens.values()].filter(({ lstrip, rstrip }) => lstrip || rstrip);
  return {
    metadata,
    caveats: [
      ...fitted.caveats,
      ...vocabulary.caveats,
      ...(stripping.length === 0
        ? []
        : [`llama.cpp keeps the spaces around ${names(stripping)}, which the tokenizer takes away`]),
    ],
  };
}

/** Drops added tokens past the embedding's rows, which no model can use; other tokens there are an error. */
function fitVocabulary(tokenizer: BpeTokenizer, vocabSize: number) {
  const outside = [...tokenizer.tokens].filter(([id]) => id >= vocabSize);
  if (outside.length === 0) return { tokenizer, caveats: [] };
  const stray = outside.find(([id]) => !tokenizer.addedTokens.has(id));
  if (stray) {
    throw new PairwiseError(
      'INVALID_MODEL',
      `tokenizer.json has a token with id ${stray[0]}, but the model's embedding has ${vocabSize} rows`,
    );
  }
  const inside = new Map([...tokenizer.tokens].filter(([id]) => id < vocabSize));
  const dropped = outside.map(([id]) => tokenizer.addedTokens.get(id)!);
  return {
    tokenizer: { ...tokenizer, tokens: inside },
    caveats: [`${names(dropped)} have no row in the model's embedding and are left out`],
  };
}

function names(tokens: readonly { content: string }[]): string {
  return tokens.map(({ content }) => JSON.stringify(content)).join(', ');
}

/** llama.cpp stops the whole process on two tokens of the same text. */
function refuseDuplicates(tokens: readonly string[]): void {
  const seen = new Set<string>();
  for (const token of tokens) {
    if (seen.has(token)) throw new PairwiseError('INVALID_MODEL', `two tokens have the text ${JSON.stringify(token)}`);
    seen.add(token);
  }
}

function* specialTokens(
  tokenizer: BpeTokenizer,
  config: Readonly<Record<string, unknown>>,
  files: TokenizerFiles,
): Generator<[string, GgufValue]> {
  const ids = new Map([...tokenizer.tokens].map(([id, token]) => [token, id]));
  const named = (field: string) => {
    const value = config[field];
    const content = typeof value === 'string' ? value : (value as { content?: unknown } | null | undefined)?.content;
    return typeof content === 'string' ? ids.get(content) : undefined;
  };
  const unk = tokenizer.unkToken === undefined ? undefined : ids.get(tokenizer.unkToken);
  const eos = named('eos_token') ?? files.eosTokenId;
  const special = {
    bos: named('bos_token') ?? files.bosTokenId,
    eos,
    eot: files.endOfTurnTokenId === eos ? undefined : files.endOfTurnTokenId,
    unknown: named('unk_token') ?? unk,
    padding: named('pad_token'),
  };
  if (special.eos === undefined) {
    throw new PairwiseError('INVALID_MODEL', 'neither tokenizer_config.json nor config.json names an eos token');
  }
  for (const [kind, id] of Object.entries(special)) {
    if (id !== undefined && id < files.vocabSize) yield [`tokenizer.ggml.${kind}_token_id`, u32(id)];
  }
  const template = tokenizer.postProcessors.find(({ type }) => type === 'TemplateProcessing');
  const parts = Array.isArray(template?.['single']) ? (template['single'] as unknown[]) : [];
  const isSpecial = (part: unknown) => typeof part === 'object' && part !== null && 'SpecialToken' in part;
  const flag = (field: string, otherwise: boolean) => (typeof config[field] === 'boolean' ? config[field] : otherwise);
  yield ['tokenizer.ggml.add_bos_token', bool(special.bos !== undefined && flag('add_bos_token', isSpecial(parts[0])))];
  yield ['tokenizer.ggml.add_eos_token', bool(flag('add_eos_token', isSpecial(parts.at(-1))))];
}
