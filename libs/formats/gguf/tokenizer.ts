import { PairwiseError } from '@pairwise/errors';
import { byteLevelVocabulary } from './byteLevel.ts';
import { byteFallbackVocabulary } from './byteFallback.ts';
import { parseBpeTokenizer, requireObject } from './tokenizerJson.ts';
import type { BpeTokenizer } from './tokenizerJson.ts';
import { bool, text, u32 } from './values.ts';
import type { GgufValue } from './values.ts';
import type { GgufTokenizer } from './vocabulary.ts';

export interface GgufTokenizerSource {
  /** `tokenizer.json`, parsed. */
  tokenizer: unknown;
  /** `tokenizer_config.json`, parsed; undefined if the model has none. */
  tokenizerConfig?: unknown;
  /** The model's chat template (Jinja), from whichever file has it. */
  chatTemplate?: string | undefined;
  /** The number of rows of the embedding. */
  vocabSize: number;
  /** The ids in `config.json`, used if tokenizer_config.json does not name the token. */
  bosTokenId?: number | undefined;
  eosTokenId?: number | undefined;
  /**
   * Whether a rendered chat begins with the bos token. If not, llama.cpp must not add one, since the model has not seen it
   * there in training. Undefined for models without a chat template.
   */
  chatBeginsWithBos?: boolean | undefined;
  /** The token that ends a turn, if it is not the eos token. */
  endOfTurnTokenId?: number | undefined;
}

/**
 * The tokenizer of a model as GGUF metadata. It is what llama.cpp's `convert_hf_to_gguf.py` writes, except that the scores of
 * byte-fallback vocabularies are the merge ranks, so that llama.cpp merges in the same order as the tokenizer.
 * Throws `UNSUPPORTED_FORMAT` for tokenizers that llama.cpp cannot reproduce, and `INVALID_MODEL` for broken files and for
 * those without an eos token, since llama.cpp would choose one itself.
 */
export function ggufTokenizer(files: GgufTokenizerSource): GgufTokenizer {
  const tokenizer = parseBpeTokenizer(files.tokenizer);
  const config = requireObject(files.tokenizerConfig ?? {}, 'tokenizer_config.json');
  const fitted = fitVocabulary(tokenizer, files.vocabSize);
  const vocabulary = tokenizer.byteFallback
    ? byteFallbackVocabulary(fitted.tokenizer, files)
    : byteLevelVocabulary(fitted.tokenizer, files.vocabSize);
  const metadata = new Map(vocabulary.metadata);
  refuseDuplicates(metadata.get('tokenizer.ggml.tokens')!.value as readonly string[]);
  const special = specialTokens(fitted.tokenizer, config, files);
  for (const [key, value] of special.metadata) metadata.set(key, value);
  if (files.chatTemplate !== undefined) metadata.set('tokenizer.chat_template', text(files.chatTemplate));
  const stripping = [...tokenizer.addedTokens.values()].filter(({ lstrip, rstrip }) => lstrip || rstrip);
  return {
    metadata,
    bosAdded: special.bosAdded,
    caveats: [
      ...fitted.caveats,
      ...vocabulary.caveats,
      ...(stripping.length === 0
        ? []
        : [`llama.cpp keeps the spaces around ${names(stripping)}, but the tokenizer removes them`]),
    ],
  };
}

/** Drops added tokens without a row in the embedding, which the model cannot use; for other tokens this is an error. */
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

/** llama.cpp aborts the whole process if two tokens have the same text. */
function refuseDuplicates(tokens: readonly string[]): void {
  const seen = new Set<string>();
  for (const token of tokens) {
    if (seen.has(token))
      throw new PairwiseError('INVALID_MODEL', `tokenizer.json: two tokens have the text ${JSON.stringify(token)}`);
    seen.add(token);
  }
}

function specialTokens(
  tokenizer: BpeTokenizer,
  config: Readonly<Record<string, unknown>>,
  files: GgufTokenizerSource,
): { metadata: Map<string, GgufValue>; bosAdded: string | undefined } {
  const ids = new Map([...tokenizer.tokens].map(([id, token]) => [token, id]));
  const named = (field: string) => {
    const value = config[field];
    const content = typeof value === 'string' ? value : (value as { content?: unknown } | null | undefined)?.content;
    return typeof content === 'string' ? ids.get(content) : undefined;
  };
  const known = (id: number | undefined) => (id !== undefined && tokenizer.tokens.has(id) ? id : undefined);
  const bos = named('bos_token') ?? known(files.bosTokenId);
  const eos = named('eos_token') ?? known(files.eosTokenId);
  if (eos === undefined) {
    throw new PairwiseError('INVALID_MODEL', 'neither tokenizer_config.json nor config.json names an eos token');
  }
  const special = {
    bos,
    eos,
    eot: files.endOfTurnTokenId === eos ? undefined : known(files.endOfTurnTokenId),
    unknown: named('unk_token') ?? ids.get(tokenizer.unkToken ?? ''),
    padding: named('pad_token'),
  };
  const [first, last] = templateEnds(tokenizer);
  const flag = (field: string, otherwise: boolean) => (typeof config[field] === 'boolean' ? config[field] : otherwise);
  const addBos = bos !== undefined && files.chatBeginsWithBos !== false && flag('add_bos_token', first);
  const metadata = new Map<string, GgufValue>();
  for (const [kind, id] of Object.entries(special)) {
    if (id !== undefined) metadata.set(`tokenizer.ggml.${kind}_token_id`, u32(id));
  }
  metadata.set('tokenizer.ggml.add_bos_token', bool(addBos));
  metadata.set('tokenizer.ggml.add_eos_token', bool(flag('add_eos_token', last)));
  return { metadata, bosAdded: addBos ? tokenizer.tokens.get(bos) : undefined };
}

/** Whether the post-processor puts a special token before a text, and whether it puts one after it. */
function templateEnds(tokenizer: BpeTokenizer): [boolean, boolean] {
  const template = tokenizer.postProcessors.find(({ type }) => type === 'TemplateProcessing');
  const parts = Array.isArray(template?.['single']) ? (template['single'] as unknown[]) : [];
  const isSpecial = (part: unknown) => typeof part === 'object' && part !== null && 'SpecialToken' in part;
  return [isSpecial(parts[0]), isSpecial(parts.at(-1))];
}
