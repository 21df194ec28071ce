import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { gunzipSync } from 'node:zlib';
import { beforeAll, describe, expect, test } from 'vitest';
import { sharedFolder } from '@pairwise/testing';
import {
  encodePair,
  readRows,
  responseDigest,
  type EncodeOptions,
  type PairTokenizer,
  type PreferencePair,
} from '@pairwise/preference';
import { openEngine, type Engine } from './engine.ts';
import { byteLevelFiles } from './testing.ts';

/*
 * The cases that corrupt training elsewhere, with the real tokenizer library: a byte-level BPE as GPT-2, Llama 3 and Qwen
 * have it, and the sentencepiece kind of Llama 2 and Mistral.
 */

const shared = sharedFolder();
const whole: EncodeOptions = { maxLength: 4096, truncationMode: 'REFUSE', chatTemplate: 'AUTO' };
let byteLevel: Engine;
let sentencepiece: Engine | undefined;

beforeAll(async () => {
  byteLevel = await openEngine(byteLevelFiles());
  if (shared === undefined) return;
  const text = (file: string) => readFileSync(join(shared, 'models/stories260K', file), 'utf8');
  sentencepiece = await openEngine({
    tokenizerJson: text('tokenizer.json'),
    tokenizerConfig: text('tokenizer_config.json'),
  });
});

/** The texts that the ids of both sides decode to, special tokens included. */
async function decoded(pair: PreferencePair, tokenizer: Engine, limits = whole) {
  const { prompt, chosen, rejected } = await encodePair(pair, tokenizer, limits);
  const text = (response: Int32Array) => tokenizer.decode(Int32Array.of(...prompt, ...response));
  return [await text(chosen), await text(rejected)];
}

const sky = { prompt: 'The sky is ', chosen: 'blue.', rejected: 'green.' };

describe('where prompt and response meet', () => {
  test('a token that would merge across the boundary changes neither side, and no character is lost', async () => {
    const prompt = await byteLevel.encode(sky.prompt, false);
    // The trap: in the joined text " blue" is one token, so the prompt's own ids do not begin it.
    expect([...(await byteLevel.encode(`${sky.prompt}blue.`, false))].slice(0, prompt.length)).not.toEqual([...prompt]);
    const encoded = await encodePair(sky, byteLevel, whole);
    expect(encoded.prompt).toEqual(prompt);
    expect(await byteLevel.decode(encoded.chosen)).toBe('blue.</s>');
    expect(await byteLevel.decode(encoded.rejected)).toBe('green.</s>');
  });

  test('where one side merges, both are encoded apart: the same words of both have the same ids', async () => {
    // " green" is not a token of this vocabulary; only the chosen side could merge.
    const pair = { ...sky, rejected: 'x blue.' };
    const { chosen, rejected } = await encodePair(pair, byteLevel, whole);
    expect(chosen).toEqual(Int32Array.of(...(await byteLevel.encodeContinuation('blue.</s>'))));
    expect(rejected).toEqual(Int32Array.of(...(await byteLevel.encodeContinuation('x blue.</s>'))));
  });

  test('where nothing merges, the ids are those of the joined text, as at inference', async () => {
    const { prompt, chosen } = await encodePair(
      { prompt: 'The sky is', chosen: ' blue.', rejected: ' red.' },
      byteLevel,
      whole,
    );
    expect(Int32Array.of(...prompt, ...chosen)).toEqual(await byteLevel.encode('The sky is blue.</s>', false));
  });

  test.each<[string, PreferencePair]>([
    ['letters of several bytes', { prompt: 'Grüße: ', chosen: 'schön 🙂', rejected: '汉字' }],
    ['a character of several code points', { prompt: '👩', chosen: '‍🚀 flies', rejected: '\u0301 is an accent' }],
    ['line ends', { prompt: 'a\r\n', chosen: '\n\nb\t', rejected: '\n b  ' }],
    ['spaces only at the boundary', { prompt: 'a  ', chosen: '  b', rejected: ' b' }],
    ['an implicit dialogue', { prompt: '\n\nHuman: Hi\n\nAssistant:', chosen: ' Hello', rejected: ' Go away' }],
  ])('%s', async (_, pair) => {
    const texts = [pair.chosen, pair.rejected].map((response) => `${pair.prompt as string}${response as string}</s>`);
    expect(await decoded(pair, byteLevel)).toEqual(texts.map((text) => `<s>${text}`));
    if (sentencepiece === undefined) return;
    // Its decoder puts a space behind the BOS.
    expect(await decoded(pair, sentencepiece)).toEqual(texts.map((text) => `<s> ${text}`));
  });
});

test.skipIf(shared === undefined)(
  '200 real dialogues: no character is lost, and the prompt is the same on both sides',
  async () => {
    const file = gunzipSync(readFileSync(join(shared!, 'data/hh-rlhf/harmless-base.first1500.jsonl.gz')));
    const rows = await Array.fromAsync(readRows(Readable.from([file.subarray(0, 500_000)])));
    const pairs = rows.flatMap((row) => ('pair' in row ? [row.pair] : [])).slice(0, 200);
    expect(pairs).toHaveLength(200);
    for (const pair of pairs) {
      const texts = [pair.chosen, pair.rejected].map((response) => `${pair.prompt as string}${response as string}</s>`);
      expect(await decoded(pair, byteLevel)).toEqual(texts.map((text) => `<s>${text}`));
      expect(await decoded(pair, sentencepiece!)).toEqual(texts.map((text) => `<s> ${text}`));
    }
  },
);

describe('special tokens', () => {
  const special = async (pair: PreferencePair, tokenizer: Engine) => {
    const { prompt, chosen } = await encodePair(pair, tokenizer, whole);
    const ids = [...prompt, ...chosen];
    const count = (token: number) => ids.filter((id) => id === token).length;
    return {
      bos: count(tokenizer.special.bosId!),
      eos: count(tokenizer.special.endOfTurnId!),
      first: ids[0],
      last: ids.at(-1),
    };
  };

  test('one BOS, also where the text brings its own, and one end of text, also where it is written out', async () => {
    for (const tokenizer of [byteLevel, ...(sentencepiece ? [sentencepiece] : [])]) {
      const wanted = { bos: 1, eos: 1, first: tokenizer.special.bosId, last: tokenizer.special.endOfTurnId };
      expect(await special({ prompt: 'a', chosen: 'b', rejected: 'c' }, tokenizer)).toEqual(wanted);
      expect(await special({ prompt: '<s>a', chosen: 'b', rejected: 'c' }, tokenizer)).toEqual(wanted);
      expect(await special({ prompt: 'a', chosen: 'b</s>', rejected: 'c</s>' }, tokenizer)).toEqual(wanted);
    }
  });

  test('a prompt with an end of text inside keeps it, and the response still has its own', async () => {
    const wanted = { eos: 2, last: byteLevel.special.endOfTurnId };
    expect(await special({ prompt: 'a</s>b', chosen: 'c', rejected: 'd' }, byteLevel)).toMatchObject(wanted);
  });

  test('responses that differ in a written end of text alone are the same', async () => {
    const pair = { prompt: 'a', chosen: 'b', rejected: 'b</s>' };
    await expect(encodePair(pair, byteLevel, whole)).rejects.toMatchObject({ refusal: 'IDENTICAL_RESPONSES' });
  });
});

describe('what cannot be kept whole is refused', () => {
  test.each<[string, object]>([
    ['lower-casing', { normalizer: { type: 'Lowercase' } }],
    ['stripping', { normalizer: { type: 'Strip', strip_left: true, strip_right: true } }],
    ['composing', { normalizer: { type: 'NFC' } }],
  ])('by a tokenizer that changes the text by %s', async (_, change) => {
    const tokenizer = await openEngine(byteLevelFiles(change));
    const pair = { prompt: ' A\u030a', chosen: 'B ', rejected: 'C ' };
    await expect(encodePair(pair, tokenizer, whole)).rejects.toMatchObject({ refusal: 'NOT_REVERSIBLE' });
  });

  test('a prompt of a megabyte is named too long before its responses cost anything', async () => {
    const pair = { prompt: 'The sky is blue. '.repeat(60_000), chosen: 'yes', rejected: 'no' };
    await expect(encodePair(pair, byteLevel, whole)).rejects.toMatchObject({ refusal: 'PROMPT_TOO_LONG' });
  });
});

/** A token for each letter, and an end of turn `0` after each response. */
const letters: PairTokenizer = {
  rendersChats: false,
  spellsTurns: () => false,
  vocabularySize: undefined,
  renderPrompt: (prompt) => prompt as string,
  renderResponse: (_, response) => `${response as string}\0`,
  encode: (text) => Promise.resolve(Int32Array.from(text, (letter) => letter.charCodeAt(0))),
  encodeContinuation: (text) => letters.encode(text, false),
  isText: () => Promise.resolve(true),
};

describe('pairs that are too long', () => {
  const pair = { prompt: 'pppp', chosen: 'cccc', rejected: 'rr' };
  const lengths = async (truncationMode: EncodeOptions['truncationMode'], maxLength: number, changed = {}) => {
    const encoded = await encodePair({ ...pair, ...changed }, letters, {
      maxLength,
      truncationMode,
      chatTemplate: 'AUTO',
    });
    return [encoded.prompt.length, encoded.chosen.length, encoded.rejected.length];
  };
  const refused = (refusal: string) => expect.objectContaining({ refusal }) as Error;

  test('the longer side, with its end of turn, decides; the limit itself fits', async () => {
    expect(await lengths('REFUSE', 9)).toEqual([4, 5, 3]);
    await expect(lengths('REFUSE', 8)).rejects.toThrow(refused('TOO_LONG'));
    await expect(lengths('REFUSE', 4)).rejects.toThrow(refused('PROMPT_TOO_LONG'));
  });

  test('KEEP_START cuts each response where the room ends; a side that fits keeps its end of turn', async () => {
    expect(await lengths('KEEP_START', 7)).toEqual([4, 3, 3]);
    expect(await lengths('KEEP_START', 5)).toEqual([4, 1, 1]);
    const { rejected } = await encodePair(pair, letters, {
      maxLength: 7,
      truncationMode: 'KEEP_START',
      chatTemplate: 'AUTO',
    });
    expect(rejected.at(-1)).toBe(0);
  });

  test('no response is ever cut to nothing, and none to the same as the other', async () => {
    await expect(lengths('KEEP_START', 4)).rejects.toThrow(refused('PROMPT_TOO_LONG'));
    await expect(lengths('KEEP_START', 6, { rejected: 'ccc' })).rejects.toThrow(refused('IDENTICAL_RESPONSES'));
    // One token of a prompt is left at least: it predicts the response's first.
    expect(await lengths('KEEP_END', 6)).toEqual([1, 5, 3]);
    await expect(lengths('KEEP_END', 4)).rejects.toThrow(refused('PROMPT_TOO_LONG'));
  });

  test('KEEP_END takes the beginning of the prompt away, the same for both sides', async () => {
    const encoded = await encodePair({ ...pair, prompt: 'abcd' }, letters, {
      maxLength: 7,
      truncationMode: 'KEEP_END',
      chatTemplate: 'AUTO',
    });
    expect(String.fromCharCode(...encoded.prompt)).toBe('cd');
    expect([encoded.chosen.length, encoded.rejected.length]).toEqual([5, 3]);
  });
});

test('the key of a response covers every id of it and of its prompt, and where one ends and the other begins', () => {
  const key = (prompt: number[], response: number[]) =>
    responseDigest(Int32Array.from(prompt), Int32Array.from(response));
  const keys = [
    key([1, 2], [3, 4]),
    key([1, 2, 3], [4]),
    key([9, 2], [3, 4]),
    key([1, 2], [9, 4]),
    key([1, 2], [3, 9]),
    key([1, 2], [3]),
  ];
  expect(new Set(keys).size).toBe(keys.length);
  expect(key([1, 2], [3, 4])).toBe(keys[0]);
});

test('a pair keeps the digest of its content however it is cut; its responses get those of what is left', async () => {
  const pair = { prompt: 'pppp', chosen: 'cccc', rejected: 'rr' };
  const long = await encodePair(pair, letters, whole);
  const short = await encodePair(pair, letters, { maxLength: 6, truncationMode: 'KEEP_START', chatTemplate: 'AUTO' });
  expect(short.pairDigest).toBe(long.pairDigest);
  expect(short.chosenDigest).not.toBe(long.chosenDigest);
  expect(long.chosenDigest).toBe(responseDigest(long.prompt, long.chosen));
});
