import { PairwiseError } from '@pairwise/errors';
import { byteLevelVocabulary } from './byteLevel.ts';
import { byteFallbackVocabulary } from './byteFallback.ts';
import { parseBpeTokenizer } from './tokenizerJson.ts';
import type { BpeTokenizer } from './tokenizerJson.ts';
import { bool, text, u32 } from './values.ts';
import type { GgufValue } from './values.ts';
import type { GgufTokenizer } from './vocabulary.ts';

/** The special tokens of a model, as its tokenizer and chat template use them. */
export interface GgufSpecialTokens {
  bosId: number | undefined;
  eosId: number | undefined;
  /** Ends a turn. */
  endOfTurnId: number | undefined;
  /** Every id at which generation stops. */
  stopIds: readonly number[];
  unknownId: number | undefined;
  paddingId: number | undefined;
  /** Whether every prompt begins with the BOS, so that llama.cpp is to put it there. */
  addsBos: boolean;
}

export interface GgufTokenizerSource {
  /** `tokenizer.json`, parsed. */
  tokenizer: unknown;
  special: GgufSpecialTokens;
  /** The chat template (Jinja) of a file that answers conversations. */
  chatTemplate?: string | undefined;
  /** Rows of the embedding. */
  vocabSize: number;
}

/**
 * The tokenizer of a model as GGUF metadata, as llama.cpp's `convert_hf_to_gguf.py` writes it, except that scores of
 * byte-fallback vocabularies are the merge ranks, so that llama.cpp merges in the tokenizer's own order.
 * Throws `UNSUPPORTED_FORMAT` for tokenizers that llama.cpp cannot follow, `INVALID_MODEL` for broken files and those
 * without an eos token, where llama.cpp would take some token of its own for it.
 */
export function ggufTokenizer({
  tokenizer: json,
  special,
  chatTemplate,
  vocabSize,
}: GgufTokenizerSource): GgufTokenizer {
  const tokenizer = parseBpeTokenizer(json);
  const fitted = fitVocabulary(tokenizer, vocabSize);
  const vocabulary = tokenizer.byteFallback
    ? byteFallbackVocabulary(fitted.tokenizer, { vocabSize, chatTemplate })
    : byteLevelVocabulary(fitted.tokenizer, vocabSize);
  const metadata = new Map(vocabulary.metadata);
  refuseDuplicates(metadata.get('tokenizer.ggml.tokens')!.value as readonly string[]);
  for (const [key, value] of specialTokens(special, vocabSize)) metadata.set(key, value);
  if (chatTemplate !== undefined) metadata.set('tokenizer.chat_template', text(chatTemplate));
  const stripsSpaces = stripsLikePhi3(tokenizer);
  const stripping = [...tokenizer.addedTokens.values()].filter(({ lstrip, rstrip }) => lstrip || rstrip);
  const unstopped = stopsBesidesEos(special, vocabSize)
    .slice(2)
    .map((id) => ({ content: tokenizer.tokens.get(id) ?? String(id) }));
  const differences = [
    ...vocabulary.caveats,
    ...(stripsSpaces
      ? ['llama.cpp removes only the spaces of ASCII after special tokens, but the tokenizer removes all']
      : []),
    ...(stripping.length === 0 || stripsSpaces
      ? []
      : [`llama.cpp keeps the spaces around ${names(stripping)}, but the tokenizer removes them`]),
  ];
  return {
    metadata,
    differences,
    stripsSpaces,
    bosAdded: special.addsBos ? tokenizer.tokens.get(special.bosId!) : undefined,
    caveats: [
      ...fitted.caveats,
      ...differences,
      ...(unstopped.length === 0 ? [] : [`llama.cpp may not stop at ${names(unstopped)}`]),
    ],
  };
}

/** Whether the spaces after added tokens are removed as llama.cpp does for a Phi 3: after all but three of them. */
function stripsLikePhi3({ addedTokens }: BpeTokenizer): boolean {
  const keeping = ['<unk>', '<s>', '<|endoftext|>'];
  const tokens = [...addedTokens.values()];
  const has = (text: string) => tokens.some(({ content }) => content === text);
  const strips = tokens.every(({ content, lstrip, rstrip }) => !lstrip && rstrip !== keeping.includes(content));
  return strips && [...keeping, '</s>'].every(has);
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
    caveats: [`tokens without a row in the model's embedding are left out: ${names(dropped)}`],
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

function specialTokens(special: GgufSpecialTokens, vocabSize: number): Map<string, GgufValue> {
  const { bosId, eosId, unknownId, paddingId, addsBos } = special;
  if (eosId === undefined) {
    throw new PairwiseError('INVALID_MODEL', 'the model names no eos token, in tokenizer_config.json or config.json');
  }
  const [eot, eom] = stopsBesidesEos(special, vocabSize);
  const ids = { bos: bosId, eos: eosId, eot, eom, unknown: unknownId, padding: paddingId };
  const metadata = new Map<string, GgufValue>();
  for (const [kind, id] of Object.entries(ids)) {
    if (id !== undefined) metadata.set(`tokenizer.ggml.${kind}_token_id`, u32(id));
  }
  metadata.set('tokenizer.ggml.add_bos_token', bool(addsBos && bosId !== undefined));
  // A prompt never ends with the EOS: the response follows.
  metadata.set('tokenizer.ggml.add_eos_token', bool(false));
  return metadata;
}

/**
 * What llama.cpp is to stop at besides the eos token, the end of a turn first. It has keys for two: eot (end of turn) and
 * eom (end of message). It knows some tokens by their names besides.
 */
function stopsBesidesEos({ eosId, endOfTurnId, stopIds }: GgufSpecialTokens, vocabSize: number): number[] {
  const all = endOfTurnId === undefined ? stopIds : [endOfTurnId, ...stopIds];
  return [...new Set(all)].filter((id) => id !== eosId && id < vocabSize);
}
