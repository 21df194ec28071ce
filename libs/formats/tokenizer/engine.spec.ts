import { encodePair, type Message } from '@pairwise/preference';
import { expect, test } from 'vitest';
import { openEngine } from './engine.ts';
import type { TokenizerFiles } from './settings.ts';

const special = (id: number, content: string, rstrip = false) => ({
  id,
  content,
  rstrip,
  single_word: false,
  lstrip: false,
  normalized: false,
  special: true,
});
const bytes = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).padStart(2, '0').toUpperCase()}>`);
const vocabulary = ['<unk>', '<s>', '</s>', ...bytes, '▁', 'a', 'b', 'ab', '▁a', '▁ab', '[END]', '[USER]', '[BOT]'];

const spacePrefix = {
  normalizer: {
    type: 'Sequence',
    normalizers: [
      { type: 'Prepend', prepend: '▁' },
      { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
    ],
  },
  decoder: {
    type: 'Sequence',
    decoders: [
      { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
      { type: 'ByteFallback' },
      { type: 'Fuse' },
      { type: 'Strip', content: ' ', start: 1, stop: 0 },
    ],
  },
};
const noPrefix = {
  normalizer: { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
  decoder: { type: 'Sequence', decoders: spacePrefix.decoder.decoders.slice(0, 3) },
};

/** A small tokenizer with byte fallback: with or without the prefix space of sentencepiece. */
function files(kind: object, config: object = {}): TokenizerFiles {
  const id = (token: string) => vocabulary.indexOf(token);
  return {
    tokenizerJson: JSON.stringify({
      version: '1.0',
      truncation: { max_length: 3, strategy: 'LongestFirst', stride: 0, direction: 'Right' },
      padding: null,
      added_tokens: [
        special(0, '<unk>'),
        special(1, '<s>'),
        special(2, '</s>'),
        special(id('[END]'), '[END]', true),
        special(id('[USER]'), '[USER]'),
        special(id('[BOT]'), '[BOT]'),
      ],
      pre_tokenizer: null,
      post_processor: null,
      model: {
        type: 'BPE',
        unk_token: '<unk>',
        fuse_unk: true,
        byte_fallback: true,
        vocab: Object.fromEntries(vocabulary.map((token, index) => [token, index])),
        merges: [
          ['a', 'b'],
          ['▁', 'ab'],
          ['▁', 'a'],
        ],
      },
      ...kind,
    }),
    tokenizerConfig: JSON.stringify({
      bos_token: '<s>',
      eos_token: { content: '</s>' },
      add_bos_token: true,
      ...config,
    }),
  };
}

const template =
  "{{ bos_token }}{% for m in messages %}{{ '[USER]' if m.role == 'user' else '[BOT]' }}{{ m.content }}[END]\n{% endfor %}" +
  '{% if add_generation_prompt %}[BOT]{% endif %}';
const message = (role: string, content: string): Message => ({ role, content });
const limits = { maxLength: 100, truncationMode: 'REFUSE', chatTemplate: 'AUTO' } as const;

test('a BOS comes first exactly once, and truncation of the file is not applied', async () => {
  const tokenizer = await openEngine(files(spacePrefix));
  const text = 'ab ab ab ab ab';
  expect([...(await tokenizer.encode(text, false))]).toEqual([
    1,
    ...Array.from({ length: 5 }, () => vocabulary.indexOf('▁ab')),
  ]);
  expect([...(await tokenizer.encode('<s>a', false))]).toEqual([1, vocabulary.indexOf('▁a')]);
  const without = await openEngine(files(spacePrefix, { add_bos_token: false }));
  expect([...(await without.encode('a', false))]).toEqual([vocabulary.indexOf('▁a')]);
  expect([tokenizer, without].map(({ special }) => special.bosBeginsTexts)).toEqual([true, false]);
  expect(tokenizer.special).toMatchObject({ bosId: 1, eosId: 2, endOfTurnId: 2, stopIds: [2] });
});

test.each([
  ['with a prefix space', spacePrefix],
  ['without', noPrefix],
])('tokens that would merge across the boundary are kept apart, %s', async (_, kind) => {
  const tokenizer = await openEngine(files(kind));
  const pair = await encodePair({ prompt: 'b a', chosen: 'b', rejected: 'a' }, tokenizer, limits);
  expect([...pair.chosen]).toEqual([vocabulary.indexOf('b'), 2]);
  expect([...pair.rejected]).toEqual([vocabulary.indexOf('a'), 2]);
  expect(await tokenizer.isText(Int32Array.of(...pair.prompt, ...pair.chosen), 'b ab</s>')).toBe(true);
});

test('ids stand for a text only if not a character is lost', async () => {
  const tokenizer = await openEngine(files(spacePrefix));
  for (const text of ['a  b', ' a', '\na', 'é ☃', 'a</s> b', '<s> a', 'a\n\n</s>\n']) {
    expect(await tokenizer.isText(await tokenizer.encode(text, false), text), text).toBe(true);
    expect(await tokenizer.isText(await tokenizer.encode(text, false), `${text} `), text).toBe(false);
  }
  expect(await tokenizer.isText(await tokenizer.encode('a b', false), 'ab')).toBe(false);
});

test('messages are rendered by the chat template, whose end of turn may swallow white space', async () => {
  const tokenizer = await openEngine({ ...files(noPrefix), chatTemplate: template });
  const prompt = [message('user', 'a')];
  expect(tokenizer.chatTemplate).toBe(template);
  expect(tokenizer.renderPrompt(prompt)).toBe('<s>[USER]a[END]\n[BOT]');
  const [chosen, rejected] = [[message('assistant', 'ab')], [message('assistant', 'b')]];
  expect(tokenizer.renderResponse(prompt, chosen)).toBe('ab[END]\n');
  const pair = await encodePair({ prompt, chosen, rejected }, tokenizer, limits);
  expect([...pair.prompt, ...pair.chosen].map((id) => vocabulary[id])).toEqual([
    '<s>',
    '[USER]',
    'a',
    '[END]',
    '[BOT]',
    'ab',
    '[END]',
  ]);
});

test('a template that changes the prompt afterwards, or refuses the messages, refuses the row', async () => {
  const changing = '{{ messages | length }}{% for m in messages %}{{ m.content }}{% endfor %}';
  const refusing = "{{ raise_exception('no') }}";
  const prompt = [message('user', 'a')];
  const response = [message('assistant', 'b')];
  const [one, other] = [
    await openEngine(files(noPrefix, { chat_template: changing })),
    await openEngine(files(noPrefix, { chat_template: [{ name: 'default', template: refusing }] })),
  ];
  expect(() => one.renderResponse(prompt, response)).toThrow(/changes the prompt.*set chat_template to NONE/);
  expect(() => other.renderPrompt(prompt)).toThrow('refuses the messages');
});

test.each([
  ['[INST]{{ m.content }}[/INST]{% else %} {{ m.content }} ', '[INST]a[/INST]', 'a [/INST] b'],
  [
    '### Instruction:\n{{ m.content }}\n\n{% else %}### Response:\n{{ m.content }}\n',
    'a\n### Response:\n',
    '### Response: a',
  ],
])('a prompt that ends as the template %j begins an answer is left as it is', async (turns, spelled, mentioned) => {
  const chatTemplate = `{% for m in messages %}{% if m.role == 'user' %}${turns}{% endif %}{% endfor %}`;
  const tokenizer = await openEngine({ ...files(noPrefix), chatTemplate });
  expect([spelled, mentioned, 'a', ''].map((prompt) => tokenizer.spellsTurns(prompt))).toEqual([
    true,
    false,
    false,
    false,
  ]);
});

test('a template without words before an answer has no turns that a prompt could end with', async () => {
  const turns = '{% for m in messages %}{{ m.content }}:\n{% endfor %}';
  const tokenizer = await openEngine({ ...files(noPrefix), chatTemplate: turns });
  expect(tokenizer.spellsTurns('List three:\n')).toBe(false);
  expect(tokenizer.spellsTurns('List [USER]')).toBe(true);
});

test('a date in a template is always the same', async () => {
  const dated = '  {% if true %}{{ strftime_now("%d %b %Y") }}{% endif %}';
  const tokenizer = await openEngine(files(noPrefix, { chat_template: dated }));
  expect(tokenizer.renderPrompt([message('user', 'a')])).toBe('26 Jul 2024');
});

test('what the model lacks is said with the remedy', async () => {
  const tokenizer = await openEngine(files(noPrefix, { eos_token: null }));
  expect(tokenizer.chatTemplate).toBeUndefined();
  expect(() => tokenizer.renderPrompt([message('user', 'a')])).toThrow('give the pairs as plain texts');
  expect(() => tokenizer.renderResponse('a', 'b')).toThrow('eos_token');
  await expect(openEngine({ tokenizerJson: '{"model": 1}' })).rejects.toThrow('tokenizer.json is not understood');
  await expect(openEngine({ tokenizerJson: '[' })).rejects.toThrow('tokenizer.json is not valid JSON');
  await expect(openEngine({ ...files(noPrefix), chatTemplate: '{% if %}' })).rejects.toThrow('chat_template');
});
