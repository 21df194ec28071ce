import { PairwiseError } from '@pairwise/errors';

export interface GgufAddedToken {
  id: number;
  content: string;
  special: boolean;
  /** Whether it is searched in the text that the normalizer made, instead of the raw text. */
  normalized: boolean;
  lstrip: boolean;
  rstrip: boolean;
}

/** The parts of a `tokenizer.json` with a BPE model that a GGUF file needs. */
export interface BpeTokenizer {
  /** The tokens by id, including added tokens; ids without a token are missing. */
  tokens: ReadonlyMap<number, string>;
  merges: readonly (readonly [string, string])[];
  addedTokens: ReadonlyMap<number, GgufAddedToken>;
  unkToken: string | undefined;
  byteFallback: boolean;
  ignoreMerges: boolean;
  /** The parts of the normalizer, with sequences flattened; the others likewise. */
  normalizers: readonly PipelinePart[];
  preTokenizers: readonly PipelinePart[];
}

/** A part of the tokenizer's pipeline: an object with a `type`. */
export type PipelinePart = Readonly<Record<string, unknown>>;

/**
 * Reads the parsed JSON of a `tokenizer.json`, the format of the `tokenizers` library.
 * Throws `INVALID_MODEL` for a broken file and `UNSUPPORTED_FORMAT` for models other than BPE.
 */
export function parseBpeTokenizer(json: unknown): BpeTokenizer {
  const root = requireObject(json, 'tokenizer.json');
  const model = requireObject(root['model'], 'tokenizer.json: model');
  // Older files do not have a type; a BPE model is one with merges.
  if ((model['type'] ?? 'BPE') !== 'BPE' || model['merges'] === undefined) {
    throw new PairwiseError(
      'UNSUPPORTED_FORMAT',
      `tokenizer.json: ${String(model['type'])} models are not supported for GGUF; only BPE is`,
    );
  }
  for (const field of ['continuing_subword_prefix', 'end_of_word_suffix']) {
    if (model[field]) {
      throw new PairwiseError('UNSUPPORTED_FORMAT', `tokenizer.json: model.${field} is not supported for GGUF`);
    }
  }
  const tokens = new Map<number, string>();
  for (const [token, id] of Object.entries(requireObject(model['vocab'], 'tokenizer.json: model.vocab'))) {
    tokens.set(natural(id, `tokenizer.json: the id of ${JSON.stringify(token)}`), token);
  }
  const addedTokens = new Map(list(root['added_tokens'] ?? [], 'added_tokens').map(addedToken));
  for (const { id, content } of addedTokens.values()) tokens.set(id, content);
  return {
    tokens,
    addedTokens,
    merges: list(model['merges'], 'model.merges').map(mergePair),
    unkToken: typeof model['unk_token'] === 'string' ? model['unk_token'] : undefined,
    byteFallback: model['byte_fallback'] === true,
    ignoreMerges: model['ignore_merges'] === true,
    normalizers: partsOf(root['normalizer'], 'normalizers'),
    preTokenizers: partsOf(root['pre_tokenizer'], 'pretokenizers'),
  };
}

/** Merges are `"a b"` in older files and `["a", "b"]` since transformers 4.45. */
function mergePair(merge: unknown, rank: number): readonly [string, string] {
  const parts: unknown[] = Array.isArray(merge) ? merge : typeof merge === 'string' ? splitMerge(merge) : [];
  const [left, right] = parts;
  if (parts.length !== 2 || typeof left !== 'string' || typeof right !== 'string' || left === '' || right === '') {
    throw broken(`model.merges[${rank}] is not a pair of tokens`);
  }
  return [left, right];
}

function splitMerge(merge: string): string[] {
  const space = merge.indexOf(' ', 1);
  return space < 0 ? [] : [merge.slice(0, space), merge.slice(space + 1)];
}

function addedToken(value: unknown, index: number): [number, GgufAddedToken] {
  const token = requireObject(value, `tokenizer.json: added_tokens[${index}]`);
  const { content } = token;
  if (typeof content !== 'string' || content === '')
    throw broken(`added_tokens[${index}].content is not a string, or it is empty`);
  const id = natural(token['id'], `tokenizer.json: added_tokens[${index}].id`);
  const flag = (name: string) => token[name] === true;
  const normalized = token['normalized'] !== false;
  return [id, { id, content, special: flag('special'), normalized, lstrip: flag('lstrip'), rstrip: flag('rstrip') }];
}

/** The deepest nesting of sequences; the `tokenizers` library does not read deeper JSON. */
const maxDepth = 128;

function partsOf(value: unknown, inner: string, depth = 0): PipelinePart[] {
  if (value === null || value === undefined) return [];
  if (depth > maxDepth) throw broken(`${inner} are nested more than ${maxDepth} deep`);
  const part = requireObject(value, `tokenizer.json: ${inner}`);
  return part['type'] === 'Sequence'
    ? list(part[inner], inner).flatMap((each) => partsOf(each, inner, depth + 1))
    : [part];
}

export function requireObject(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new PairwiseError('INVALID_MODEL', `${what} is not an object`);
  }
  return value as Record<string, unknown>;
}

function list(value: unknown, what: string): unknown[] {
  if (!Array.isArray(value)) throw broken(`${what} is not a list`);
  return value;
}

function natural(value: unknown, what: string): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value >= 2 ** 24) {
    throw new PairwiseError('INVALID_MODEL', `${what} is not a token id`);
  }
  return value;
}

function broken(problem: string): PairwiseError {
  return new PairwiseError('INVALID_MODEL', `tokenizer.json: ${problem}`);
}
