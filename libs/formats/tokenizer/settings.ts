import { PairwiseError } from '@pairwise/errors';

/** The contents of a model's tokenizer files. */
export interface TokenizerFiles {
  /** `tokenizer.json` */
  tokenizerJson: string;
  /** `tokenizer_config.json` */
  tokenizerConfig?: string | undefined;
  /** `special_tokens_map.json` */
  specialTokensMap?: string | undefined;
  /** `chat_template.jinja` */
  chatTemplate?: string | undefined;
  /** `generation_config.json` */
  generationConfig?: string | undefined;
  /** `config.json` */
  config?: string | undefined;
}

/** A token that is matched in the text before the model's vocabulary. */
export interface AddedToken {
  id: number;
  content: string;
  special: boolean;
  /** Whether whitespace before or after the token is removed. */
  lstrip: boolean;
  rstrip: boolean;
}

/** The settings in the files, apart from the vocabulary. */
export interface Settings {
  addedTokens: Map<number, AddedToken>;
  /** Texts of the special tokens by their names in chat templates, such as `bos_token`. */
  names: Record<string, string>;
  /** `add_bos_token` of tokenizer_config.json; if it is missing, tokenizer.json decides. */
  addBos: boolean | undefined;
  /** Whether the tokenizer adds a space before a text's first word. */
  addsPrefix: boolean;
  chatTemplate: string | undefined;
  /** The EOS ids in generation_config.json and config.json. */
  stopIds: number[];
  /** `vocab_size` of config.json, the rows of the embedding; undefined if it is missing. */
  vocabularySize: number | undefined;
}

type Json = Record<string, unknown>;

/** Parses the files. Throws INVALID_MODEL naming the broken file. */
export function readSettings(files: TokenizerFiles): Settings {
  const tokenizer = parse(files.tokenizerJson, 'tokenizer.json');
  const config = parse(files.tokenizerConfig ?? '{}', 'tokenizer_config.json');
  const model = parse(files.config ?? '{}', 'config.json');
  const addBos = config['add_bos_token'];
  return {
    addedTokens: addedTokens(tokenizer['added_tokens']),
    names: { ...namedTokens(parse(files.specialTokensMap ?? '{}', 'special_tokens_map.json')), ...namedTokens(config) },
    addBos: typeof addBos === 'boolean' ? addBos : undefined,
    addsPrefix: addsPrefix(tokenizer['normalizer']) || addsPrefix(tokenizer['pre_tokenizer']),
    chatTemplate: files.chatTemplate ?? templateOf(config['chat_template']),
    stopIds: [...stopIds(parse(files.generationConfig ?? '{}', 'generation_config.json')), ...stopIds(model)],
    vocabularySize: typeof model['vocab_size'] === 'number' ? model['vocab_size'] : undefined,
  };
}

function parse(text: string, file: string): Json {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new PairwiseError('INVALID_MODEL', `${file} is not valid JSON`, { field: file, cause });
  }
  if (isObject(value)) return value;
  throw new PairwiseError('INVALID_MODEL', `${file} is not a JSON object`, { field: file });
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function addedTokens(list: unknown): Map<number, AddedToken> {
  const tokens = (Array.isArray(list) ? list : []).filter(isObject).flatMap((token) => {
    const { id, content } = token;
    if (typeof id !== 'number' || typeof content !== 'string') return [];
    const flag = (name: string) => token[name] === true;
    return [{ id, content, special: flag('special'), lstrip: flag('lstrip'), rstrip: flag('rstrip') }];
  });
  return new Map(tokens.map((token) => [token.id, token]));
}

/** The tokens that a file names as `<name>_token`, including the model's own in `extra_special_tokens`. */
function namedTokens(file: Json): Record<string, string> {
  const own = isObject(file['extra_special_tokens']) ? file['extra_special_tokens'] : {};
  const all = Object.entries({ ...own, ...file }).filter(([name]) => name.endsWith('_token'));
  return Object.fromEntries(
    all.flatMap(([name, token]) => {
      const content = contentOf(token);
      return content === undefined ? [] : [[name, content]];
    }),
  );
}

/** A special token is a string, or an object with `content`. */
function contentOf(token: unknown): string | undefined {
  const content = isObject(token) ? token['content'] : token;
  return typeof content === 'string' && content !== '' ? content : undefined;
}

/** Whether a normalizer or pre-tokenizer, or one in a sequence, adds a space before a text. */
function addsPrefix(whole: unknown): boolean {
  // A worklist instead of recursion: sequences may be nested more deeply than the call stack allows.
  const parts = [whole];
  for (const part of parts) {
    if (!isObject(part)) continue;
    if (stepAddsPrefix(part)) return true;
    for (const inner of [part['normalizers'], part['pretokenizers']]) {
      if (Array.isArray(inner)) for (const each of inner as unknown[]) parts.push(each);
    }
  }
  return false;
}

function stepAddsPrefix(part: Json): boolean {
  if (part['type'] === 'Prepend') return true;
  if (part['type'] === 'ByteLevel') return part['add_prefix_space'] === true;
  if (part['type'] === 'Metaspace') return part['prepend_scheme'] !== 'never' && part['add_prefix_space'] !== false;
  return false;
}

function templateOf(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  const named = (Array.isArray(value) ? value : []).filter(isObject);
  const template = named.find(({ name }) => name === 'default')?.['template'];
  return typeof template === 'string' ? template : undefined;
}

function stopIds({ eos_token_id: ids }: Json): number[] {
  return (Array.isArray(ids) ? ids : [ids]).filter((id) => typeof id === 'number');
}
