import { mkdtempSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ggufTokenizer } from '@pairwise/gguf';
import { PreTokenizer, Tokenizer } from 'tokenizers';
import { afterAll, describe, expect, test } from 'vitest';
import { byteLevelTokenizer, sharedFolder } from '@pairwise/testing';
import { openJudge } from './index.ts';
import { seededRandom } from './sampling.ts';
import { randomModel, testModel, writeTestGguf, testSpecialTokens } from './testing.ts';

const shared = sharedFolder();
const folder = mkdtempSync(join(tmpdir(), 'pairwise-tokenizing-'));
afterAll(() => rmSync(folder, { recursive: true }));

const texts = [
  'Once upon a time, there was a little dog named Max.',
  'Lily said, "Let\'s go to the zoo!"\nTom was happy.',
  '',
  ' ',
  '  two spaces first',
  'two spaces last  ',
  'many          spaces    inside',
  '\n',
  '\n\nlines\n\n\nand\r\nlines\t\ttabs\n',
  "I'm, you're, HE'LL, they've 'd 's",
  'Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich',
  'naïve café, façade; cafe\u0301 with a combining accent',
  'Съешь же ещё этих мягких французских булок',
  '天地玄黃，宇宙洪荒。日本語のテキスト。한국어',
  'שלום עולם مرحبا بالعالم नमस्ते दुनिया',
  '🐻 bears 👩‍👩‍👧‍👦 family 🇩🇪 flag ❤️',
  '0 1 12 123 1234 12345 3.14159 1,000,000 ½ ٣ Ⅷ',
  '2024, 20242024 and 2024202 in 2024; 1000 10000 100000 of 1000000',
  'x = [i**2 for i in range(10)]; // <html> & {json: "yes"} \\ | ~ ` ^ # @ $ % € ™',
  '-- --- ---- ... .... …… !!! ??? ===== ####',
  'aaaa aaaaa aaaaaaa bbbbbb the the the thethethe',
  'CamelCaseWords and SCREAMING_SNAKE_CASE, kebab-case',
  '\u00a0no-break\u2003em space\u200bzero width\u3000ideographic',
  'null \u0000 and control \u0001\u001f characters \u007f',
  'turns<|end|>and<|end|> turns <|end|>',
  'hello</s>world <s> x</s>',
  '<|user|>\nWho?<|end|> \n <|assistant|>\n  I am.\n<|end|>\n',
  'unpaired \ufffd replacement, private \ue000, astral \u{1f9ff}\u{20000}',
];

/** First and last code points of letters, marks, digits, punctuation, symbols and spaces of many scripts. */
const ranges: readonly [number, number][] = [
  [0x20, 0x7e],
  [0xa0, 0x17f],
  [0x300, 0x36f],
  [0x370, 0x3ff],
  [0x400, 0x4ff],
  [0x5d0, 0x5ea],
  [0x620, 0x669],
  [0x904, 0x96f],
  [0xe01, 0xe5b],
  [0x2000, 0x206f],
  [0x20a0, 0x20bf],
  [0x2100, 0x218b],
  [0x3000, 0x30ff],
  [0x4e00, 0x4fff],
  [0xac00, 0xacff],
  [0xff01, 0xff5e],
  [0x1d7ce, 0x1d7ff],
  [0x1f300, 0x1f64f],
];

/** The texts above, and others made of parts of them and of random characters: 2,000, always the same. */
function manyTexts(): string[] {
  const random = seededRandom(1);
  const below = (limit: number) => Math.floor(random() * limit);
  const part = () => {
    if (random() < 0.3) {
      const [first, last] = ranges[below(ranges.length)]!;
      return Array.from({ length: 1 + below(4) }, () => String.fromCodePoint(first + below(last - first + 1))).join('');
    }
    const characters = Array.from(texts[below(texts.length)]!);
    const start = below(characters.length + 1);
    return characters.slice(start, start + 1 + below(12)).join('');
  };
  return [
    ...texts,
    ...Array.from({ length: 2000 - texts.length }, () => Array.from({ length: 1 + below(6) }, part).join('')),
  ];
}

/** The ids of every text in the tokenizer and in llama.cpp, without special tokens. */
async function bothIds(tokenizer: Tokenizer, path: string) {
  const judge = await openJudge(path);
  try {
    const rows = [];
    for (const text of manyTexts()) {
      const own = await tokenizer.encode(text, null, { addSpecialTokens: false });
      const theirs = await judge.tokenize(text, { addSpecial: false, parseSpecial: true });
      rows.push({ text, own: own.getIds(), theirs: [...theirs] });
    }
    return rows;
  } finally {
    await judge.close();
  }
}

describe('a byte-fallback tokenizer', () => {
  test.skipIf(!shared)('has the same ids in llama.cpp (skipped without ../shared)', async () => {
    const source = join(shared!, 'models/stories260K');
    const path = join(folder, 'stories.gguf');
    await writeTestGguf(await testModel(source), path, 'F16');
    const tokenizer = Tokenizer.fromString(await readFile(join(source, 'tokenizer.json'), 'utf8'));
    for (const { text, own, theirs } of await bothIds(tokenizer, path))
      expect(theirs, JSON.stringify(text)).toEqual(own);
  });
});

describe('a tokenizer like that of Phi 3', () => {
  const addedToken = (id: number, content: string) => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: !['<unk>', '<s>', '<|endoftext|>'].includes(content),
    normalized: false,
    special: content !== '</s>',
  });

  test.skipIf(!shared)('has the same ids in llama.cpp (skipped without ../shared)', async () => {
    const text = await readFile(join(shared!, 'models/stories260K/tokenizer.json'), 'utf8');
    const json = JSON.parse(text) as { added_tokens: object[] };
    const more = ['<|endoftext|>', '<|user|>', '<|assistant|>', '<|end|>'].map((each, n) => addedToken(512 + n, each));
    json.added_tokens = [...['<unk>', '<s>', '</s>'].map((each, id) => addedToken(id, each)), ...more];
    const path = join(folder, 'phi.gguf');
    const special = testSpecialTokens({ bosId: 1, eosId: 2, unknownId: 0, addsBos: true });
    const { metadata, stripsSpaces, caveats } = ggufTokenizer({ tokenizer: json, special, vocabSize: 516 });
    expect(caveats).toEqual([expect.stringContaining('only the spaces of ASCII')]);
    await writeTestGguf({ ...randomModel(516, metadata), stripsSpaces }, path, 'F16');
    // What the caveat names.
    const otherSpace = /[|s]>\s*[^\S\t-\r ]/;
    for (const { text, own, theirs } of await bothIds(Tokenizer.fromString(JSON.stringify(json)), path)) {
      if (!otherSpace.test(text)) expect(theirs, JSON.stringify(text)).toEqual(own);
    }
  });
});

describe('a tokenizer like that of Gemma', () => {
  // Published files have the first; the conversion in transformers makes the second.
  test.each([false, true])('has the same ids in llama.cpp, with normalized spaces: %s', async (normalized) => {
    const json = gemmaTokenizer(normalized);
    const path = join(folder, `gemma-${normalized}.gguf`);
    const vocabSize = Object.keys(json.model.vocab).length;
    const special = testSpecialTokens({ bosId: 2, eosId: 1, unknownId: 3, addsBos: true });
    const { metadata, caveats } = ggufTokenizer({ tokenizer: json, special, vocabSize });
    expect(caveats).toEqual([]);
    expect(metadata.get('tokenizer.ggml.add_space_prefix')?.value).toBe(false);
    await writeTestGguf(randomModel(vocabSize, metadata), path, 'F16');
    for (const { text, own, theirs } of await bothIds(Tokenizer.fromString(JSON.stringify(json)), path))
      expect(theirs, JSON.stringify(text)).toEqual(own);
  });
});

/**
 * A byte-fallback BPE tokenizer with the pipeline of Gemma, with 300 pieces learned from the texts above. As in transformers,
 * every way to cut a piece into two others is a merge, in the order of the pieces.
 */
function gemmaTokenizer(normalized: boolean) {
  const meta = '\u2581';
  const special = ['<pad>', '<eos>', '<bos>', '<unk>', '<start_of_turn>', '<end_of_turn>', '<|end|>'];
  const found = ['\n', '\n\n', '\n\n\n', ...[2, 3, 4].map((count) => meta.repeat(count))];
  // llama.cpp takes </s> for a special token in any vocabulary.
  const lines = texts.flatMap((text) => text.split('\n')).filter((line) => !line.includes('</s>'));
  const words = lines.map((line) => Array.from(line.replaceAll(' ', meta)));
  const learned = learnedMerges(words, 300).map((pair) => pair.join(''));
  const pieces = [...new Set([...found, ...learned])];
  const bytes = Array.from({ length: 256 }, (_, n) => `<0x${n.toString(16).toUpperCase().padStart(2, '0')}>`);
  // Other characters are bytes.
  const letters = learned.flatMap((piece) => Array.from(piece));
  const tokens = [...new Set([...special, ...bytes, ...pieces, ...letters])];
  const vocab = Object.fromEntries(tokens.map((token, id) => [token, id]));
  const merges = pieces.flatMap((piece) => {
    const parts = Array.from(piece);
    const cuts = parts.map((_, cut) => [parts.slice(0, cut).join(''), parts.slice(cut).join('')] as const);
    return cuts.filter(([left, right]) => left in vocab && right in vocab);
  });
  const added = [...special, ...found].map((content) => ({
    id: vocab[content]!,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: normalized && found.includes(content),
    special: special.includes(content),
  }));
  const { model, ...parts } = byteLevelTokenizer([], []);
  return {
    ...parts,
    added_tokens: added,
    normalizer: { type: 'Replace', pattern: { String: ' ' }, content: meta },
    pre_tokenizer: { type: 'Split', pattern: { String: ' ' }, behavior: 'MergedWithPrevious', invert: false },
    decoder: null,
    model: { ...model, unk_token: '<unk>', fuse_unk: true, byte_fallback: true, vocab, merges },
  };
}

const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const rest = ' ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';
const upper = '[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]';
const lower = '[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]';
const mark = '[^\\r\\n\\p{L}\\p{N}]?';
const slashRest = ' ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';
const bytes = (useRegex: boolean) => ({
  type: 'ByteLevel',
  add_prefix_space: false,
  trim_offsets: true,
  use_regex: useRegex,
});
const sequence = (...pretokenizers: object[]) => ({ type: 'Sequence', pretokenizers });
const isolated = (expression: string) => ({
  type: 'Split',
  pattern: { Regex: expression },
  behavior: 'Isolated',
  invert: false,
});
const split = (expression: string) => sequence(isolated(expression), bytes(false));
/** As files that were made from OpenAI's tokenizers have it. */
const kept = (expression: string) =>
  sequence({ ...isolated(expression), behavior: 'Removed', invert: true }, bytes(false));
const digits = (individual: boolean) => ({ type: 'Digits', individual_digits: individual });
const gpt4 = `${contractions}|${mark}\\p{L}+|\\p{N}{1,3}|${rest}`;
const gpt4o = `${mark}${upper}*${lower}+${contractions}?|${mark}${upper}+${lower}*${contractions}?|\\p{N}{1,3}|${slashRest}`;
// Escaped are letters that Unicode normalisation changes.
const casedLetters =
  'A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\u1f7dᾀ-ᾴᾶ-ᾼ\u1fbeῂ-ῄῆ-ῌῐ-\u1fd3ῖ-\u1fdbῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212a-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃';
const cjk = '[一-龥ࠀ-一가-퟿]+';
const deepSeek = (...expressions: string[]) =>
  sequence(...['[\r\n]', ...expressions].map(isolated), digits(true), bytes(false));
const deepSeekV3Words =
  '[!"#$%&\'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+';

describe('byte-level tokenizers', () => {
  test.each([
    ['GPT-2', 'gpt-2', bytes(true), false],
    ['SmolLM, StarCoder and Granite', 'smollm', sequence(digits(true), bytes(true)), false],
    ['Llama 3', 'llama-bpe', split(gpt4), true],
    ['Llama 3 without ignore_merges', 'smaug-bpe', split(gpt4), false],
    ['OLMo 2 and Phi-4', 'smaug-bpe', kept(gpt4), false],
    ['Phi-4-mini', 'gpt-4o', kept(gpt4o), false],
    ['Qwen', 'qwen2', split(`${contractions}|${mark}\\p{L}+|\\p{N}|${rest}`), false],
    ['Mistral NeMo', 'tekken', split(`${mark}${upper}*${lower}+|${mark}${upper}+${lower}*|\\p{N}|${slashRest}`), true],
    [
      'DeepSeek LLM',
      'deepseek-llm',
      deepSeek(`\\s?[${casedLetters}]+`, '\\s?[!-/:-~！-／：-～‘-‟\u3000-。]+', '\\s+$', cjk),
      false,
    ],
    ['DeepSeek Coder', 'deepseek-coder', deepSeek('\\s?\\p{L}+', '\\s?\\p{P}+', cjk), false],
    [
      'DeepSeek V3',
      'deepseek-v3',
      sequence(...['\\p{N}{1,3}', '[一-龥\u3040-ゟ゠-ヿ]+', deepSeekV3Words].map(isolated), bytes(false)),
      false,
    ],
    [
      'Falcon',
      'falcon',
      sequence(
        { type: 'Punctuation', behavior: 'Contiguous' },
        bytes(true),
        digits(false),
        isolated('[0-9][0-9][0-9]'),
      ),
      false,
    ],
  ])('that split words like %s have the same ids in llama.cpp', async (_, pre, preTokenizer, ignoreMerges) => {
    const json = trainedTokenizer(preTokenizer, ignoreMerges);
    const path = join(folder, `${pre}.gguf`);
    const vocabSize = Object.keys(json.model.vocab).length + 4;
    const { metadata, caveats } = ggufTokenizer({
      tokenizer: json,
      special: testSpecialTokens({ eosId: 256 }),
      vocabSize,
    });
    expect(metadata.get('tokenizer.ggml.pre')?.value).toBe(pre);
    const isApproximate = pre === 'tekken' || pre === 'gpt-4o';
    expect(caveats).toEqual(isApproximate ? [expect.stringContaining('combining marks')] : []);
    await writeTestGguf(randomModel(vocabSize, metadata), path, 'F16');
    const rows = await bothIds(Tokenizer.fromString(JSON.stringify(json)), path);
    // What the caveat names.
    const approximate = /\p{M}|\p{Lt}|(?![A-Z])\p{Lu}/u;
    for (const { text, own, theirs } of rows) {
      if (!isApproximate || !approximate.test(text)) expect(theirs, JSON.stringify(text)).toEqual(own);
    }
  });
});

/** A byte-level BPE tokenizer with 300 merges, learned from the texts above in the simplest way. */
function trainedTokenizer(preTokenizer: object, ignoreMerges: boolean) {
  const tokenizerOf = (merges: [string, string][]) => {
    const { model, ...parts } = byteLevelTokenizer(merges, ['<|end|>']);
    return { ...parts, pre_tokenizer: preTokenizer, model: { ...model, ignore_merges: ignoreMerges } };
  };
  const cutter = Tokenizer.fromString(JSON.stringify(tokenizerOf([]))).getPreTokenizer() as PreTokenizer;
  const words = texts.flatMap((text) => cutter.preTokenizeString(text).map(([word]) => Array.from(word)));
  return tokenizerOf(learnedMerges(words, 300));
}

/** The merges of BPE, learned in the simplest way. Merges in `words`. */
function learnedMerges(words: readonly string[][], count: number): [string, string][] {
  const merges: [string, string][] = [];
  while (merges.length < count) {
    const counts = new Map<string, number>();
    for (const word of words) {
      for (let index = 1; index < word.length; index++) {
        const pair = `${word[index - 1]!}\n${word[index]!}`;
        counts.set(pair, (counts.get(pair) ?? 0) + 1);
      }
    }
    const [best] = [...counts].reduce((a, b) => (b[1] > a[1] ? b : a));
    const [left, right] = best.split('\n') as [string, string];
    merges.push([left, right]);
    for (const word of words) {
      for (let index = 1; index < word.length; index++) {
        if (word[index - 1] === left && word[index] === right) word.splice(index - 1, 2, left + right);
      }
    }
  }
  return merges;
}
