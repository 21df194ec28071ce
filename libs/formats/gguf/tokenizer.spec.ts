import { describe, expect, test } from 'vitest';
import { ggufTokenizer, tokenType } from './index.ts';
import type { GgufSpecialTokens, GgufTokenizerSource } from './index.ts';

const added = (id: number, content: string, special = true, more: object = {}) => ({ id, content, special, ...more });

const specials = [added(0, '<unk>'), added(1, '<s>'), added(2, '</s>')];

/** A sentencepiece-like tokenizer with a few tokens. */
function spaced(
  changes: { model?: object; normalizer?: unknown; pre_tokenizer?: unknown; added_tokens?: unknown } = {},
) {
  const vocab = { '<unk>': 0, '<s>': 1, '</s>': 2, '<0x0A>': 3, a: 4, b: 5, '▁': 6, '▁a': 7, '▁ab': 8, ab: 9 };
  return {
    added_tokens: specials,
    normalizer: { type: 'Sequence', normalizers: [{ type: 'Prepend', prepend: '▁' }, replaceSpaces] },
    pre_tokenizer: null,
    post_processor: {
      type: 'TemplateProcessing',
      single: [{ SpecialToken: { id: '<s>' } }, { Sequence: { id: 'A' } }],
    },
    ...changes,
    model: {
      type: 'BPE',
      byte_fallback: true,
      unk_token: '<unk>',
      vocab,
      merges: ['▁ a', 'a b', ['▁a', 'b'], ['▁', 'ab']],
      ...changes.model,
    },
  };
}

/** A normalizer nested in `depth` sequences. */
function nested(depth: number) {
  let part: object = replaceSpaces;
  for (let n = 0; n < depth; n++) part = { type: 'Sequence', normalizers: [part] };
  return part;
}

const replaceSpaces = { type: 'Replace', pattern: { String: ' ' }, content: '▁' };
const special: GgufSpecialTokens = {
  bosId: 1,
  eosId: 2,
  endOfTurnId: 2,
  stopIds: [2],
  unknownId: 0,
  paddingId: undefined,
  addsBos: true,
};

function converted(tokenizer: unknown, more: Partial<GgufTokenizerSource> = {}) {
  const { metadata, ...rest } = ggufTokenizer({ tokenizer, special, vocabSize: 10, ...more });
  return { ...rest, value: (key: string) => metadata.get(`tokenizer.${key}`)?.value };
}

describe('byte-fallback vocabularies', () => {
  test('scores are minus the rank of the first merge, and each token has its type', () => {
    const { value, caveats, bosAdded } = converted(spaced());
    expect(value('ggml.model')).toBe('llama');
    expect(value('ggml.tokens')).toEqual(['<unk>', '<s>', '</s>', '<0x0A>', 'a', 'b', '▁', '▁a', '▁ab', 'ab']);
    expect(value('ggml.scores')).toEqual([0, 0, 0, 0, -4, -4, -4, 0, -2, -1]);
    expect(value('ggml.token_type')).toEqual([2, 3, 3, 6, 1, 1, 1, 1, 1, 1]);
    expect(value('ggml.add_space_prefix')).toBe(true);
    expect([value('ggml.bos_token_id'), value('ggml.eos_token_id'), value('ggml.unknown_token_id')]).toEqual([1, 2, 0]);
    expect([value('ggml.add_bos_token'), value('ggml.add_eos_token')]).toEqual([true, false]);
    expect({ caveats, bosAdded }).toEqual({ caveats: [], bosAdded: '<s>' });
  });

  test('rows without a token are padded, and plain added tokens match the raw text', () => {
    const tokenizer = spaced({ added_tokens: [...specials, added(10, '▁my word', false)] });
    const { value } = converted(tokenizer, { vocabSize: 13 });
    expect((value('ggml.tokens') as string[]).slice(10)).toEqual([' my word', '[PAD11]', '[PAD12]']);
    expect((value('ggml.token_type') as number[]).slice(10)).toEqual([tokenType.userDefined, 5, 5]);
  });

  test('merges that only llama.cpp would make are reported', () => {
    const { caveats } = converted(spaced({ model: { merges: ['▁ a', 'a b', '▁a b'] } }));
    expect(caveats).toEqual(['llama.cpp may form 1 token by merges that the tokenizer does not have']);
  });

  test('a token of a million characters takes linear time', () => {
    const [left, right] = ['a'.repeat(500_000), '🙂'.repeat(500_000)];
    const vocab = { '<unk>': 0, '<s>': 1, '</s>': 2, [left]: 3, [right]: 4, [left + right]: 5 };
    const caveats = (merges: unknown[]) => converted(spaced({ model: { vocab, merges } })).caveats;
    expect(caveats([[left, right]])).toEqual([]);
    expect(caveats([])).toEqual(['llama.cpp may form 1 token by merges that the tokenizer does not have']);
  });

  test.each([
    ['always', undefined, true, 0],
    ['never', undefined, false, 0],
    ['first', undefined, true, 1],
    ['first', '{{ messages }}', false, 1],
  ])('Metaspace %s with the chat template %s', (scheme, chatTemplate, prefix, caveatCount) => {
    const pre_tokenizer = { type: 'Metaspace', replacement: '▁', prepend_scheme: scheme, split: false };
    const { value, caveats } = converted(spaced({ normalizer: null, pre_tokenizer }), { chatTemplate });
    expect(value('ggml.add_space_prefix')).toBe(prefix);
    expect(caveats.length).toBe(caveatCount);
    expect(value('chat_template')).toBe(chatTemplate);
  });

  test.each([
    [{ normalizer: { type: 'Lowercase' } }, /normalizer Lowercase/],
    [{ pre_tokenizer: { type: 'Whitespace' } }, /pre_tokenizer Whitespace/],
  ])('%o is refused', (changes, message) => {
    expect(() => converted(spaced(changes))).toThrow(message);
  });
});

describe('special tokens', () => {
  test.each([
    ['the eos token', { endOfTurnId: 2, stopIds: [2] }, [2, undefined, undefined]],
    ['another token', { endOfTurnId: 3, stopIds: [3, 2] }, [2, 3, undefined]],
    ['another one, and a third stops generation', { endOfTurnId: 3, stopIds: [2, 4, 3] }, [2, 3, 4]],
    ['one that has no embedding', { endOfTurnId: 99, stopIds: [99, 2] }, [2, undefined, undefined]],
  ])('a turn that ends with %s', (_, ends, wanted) => {
    const { value, caveats } = converted(spaced(), { special: { ...special, ...ends } });
    expect(['eos', 'eot', 'eom'].map((kind) => value(`ggml.${kind}_token_id`))).toEqual(wanted);
    expect(caveats).toEqual([]);
  });

  test('more stops than llama.cpp has keys for are reported', () => {
    const { caveats } = converted(spaced(), { special: { ...special, endOfTurnId: 3, stopIds: [3, 2, 4, 5] } });
    expect(caveats).toEqual(['llama.cpp may not stop at "b"']);
  });

  test('bos is added only where every prompt begins with it', () => {
    expect(converted(spaced()).bosAdded).toBe('<s>');
    const { value, bosAdded } = converted(spaced(), { special: { ...special, addsBos: false } });
    expect([value('ggml.add_bos_token'), bosAdded]).toEqual([false, undefined]);
  });

  test('a model without an eos token is refused', () => {
    expect(() => converted(spaced(), { special: { ...special, eosId: undefined } })).toThrow('eos token');
  });

  test('stripping of spaces around a token is reported', () => {
    const tokens = [...specials, added(10, '<mask>', true, { lstrip: true })];
    expect(converted(spaced({ added_tokens: tokens }), { vocabSize: 11 }).caveats).toEqual([
      'llama.cpp keeps the spaces around "<mask>", but the tokenizer removes them',
    ]);
  });
});

describe('the rows of the embedding', () => {
  test('added tokens without one are left out and reported', () => {
    const tokens = [...specials, added(10, '<pad>')];
    const { value, caveats } = converted(spaced({ added_tokens: tokens }));
    expect((value('ggml.tokens') as string[]).length).toBe(10);
    expect(caveats[0]).toContain('"<pad>"');
  });

  test('other tokens without one are an error', () => {
    expect(() => converted(spaced(), { vocabSize: 9 })).toThrow('id 9');
  });
});

describe('byte-level vocabularies', () => {
  const byteLevel = (pre_tokenizer: unknown, normalizer: unknown = null) =>
    spaced({
      model: {
        byte_fallback: false,
        unk_token: null,
        merges: [
          ['a', 'b'],
          ['a b', 'c'],
        ],
      },
      normalizer,
      pre_tokenizer,
    });
  const bytes = { type: 'ByteLevel', add_prefix_space: false, use_regex: true };
  const qwen2 =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

  test('merges are written as text, and normalisation that llama.cpp does not apply is reported', () => {
    const { value, caveats } = converted(byteLevel(bytes, { type: 'NFC' }));
    expect([value('ggml.model'), value('ggml.pre')]).toEqual(['gpt2', 'gpt-2']);
    expect(value('ggml.merges')).toEqual(['a b', 'aĠb c']);
    expect(value('ggml.scores')).toBeUndefined();
    expect(caveats).toEqual(["llama.cpp does not apply the tokenizer's NFC normalisation of Unicode"]);
  });

  test.each([
    ['a prefix space', { ...bytes, add_prefix_space: true }, /add_prefix_space/],
    [
      'an unknown expression',
      {
        type: 'Sequence',
        pretokenizers: [
          { type: 'Split', pattern: { Regex: '\\w+' } },
          { ...bytes, use_regex: false },
        ],
      },
      /Split, ByteLevel/,
    ],
    ['no splitting', null, /none/],
    [
      'an expression for bytes',
      {
        type: 'Sequence',
        pretokenizers: [
          { ...bytes, use_regex: false },
          { type: 'Split', pattern: { Regex: qwen2 }, behavior: 'Isolated' },
        ],
      },
      /ByteLevel, Split/,
    ],
    [
      'removing what is not split off',
      {
        type: 'Sequence',
        pretokenizers: [
          { type: 'Split', pattern: { Regex: '[\\r\\n]' }, behavior: 'Removed', invert: true },
          ...['\\s?\\p{L}+', '\\s?\\p{P}+', '[一-龥ࠀ-一가-퟿]+'].map((Regex) => ({
            type: 'Split',
            pattern: { Regex },
            behavior: 'Isolated',
          })),
          { type: 'Digits', individual_digits: true },
          { ...bytes, use_regex: false },
        ],
      },
      /Split, Split, Split, Split, Digits, ByteLevel/,
    ],
    [
      'grouped digits',
      { type: 'Sequence', pretokenizers: [{ type: 'Digits', individual_digits: false }, bytes] },
      /Digits, ByteLevel/,
    ],
  ])('%s is refused', (_, pre_tokenizer, message) => {
    expect(() => converted(byteLevel(pre_tokenizer))).toThrow(message);
  });
});

describe('broken files', () => {
  test.each([
    ['text instead of an object', 'text'],
    ['no model', {}],
    ['an invalid token id', spaced({ model: { vocab: { a: -1 } } })],
    ['a merge of three', spaced({ model: { merges: [['a', 'b', 'c']] } })],
    ['a merge of one', spaced({ model: { merges: ['a'] } })],
    ['deeply nested sequences', spaced({ normalizer: nested(100_000) })],
    ['an added token without text', spaced({ added_tokens: [{ id: 1 }] })],
    ['two tokens with the same text', spaced({ added_tokens: [...specials, added(4, 'b')] })],
  ])('%s', (_, tokenizer) => {
    expect(() => converted(tokenizer)).toThrow(expect.objectContaining({ reason: 'INVALID_MODEL' }) as Error);
  });

  test('models other than BPE are not supported', () => {
    expect(() => converted(spaced({ model: { type: 'Unigram' } }))).toThrow('Unigram');
    expect(() => converted(spaced({ model: { type: 'WordPiece', merges: undefined } }))).toThrow('WordPiece');
  });
});
