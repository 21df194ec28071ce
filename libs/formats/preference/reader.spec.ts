import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { sharedFolder } from '@pairwise/testing';
import { readRows, type ReadRow } from './index.ts';

async function read(text: string | Uint8Array, chunkSize = 7): Promise<ReadRow[]> {
  const bytes = typeof text === 'string' ? Buffer.from(text) : text;
  async function* chunks() {
    for (let at = 0; at < bytes.length; at += chunkSize)
      yield await Promise.resolve(bytes.subarray(at, at + chunkSize));
  }
  return Array.fromAsync(readRows(chunks()));
}

const refusal = (row: ReadRow | undefined) => (row !== undefined && 'error' in row ? row.error.refusal : undefined);
const one = (row: unknown) => read(JSON.stringify(row)).then(([first]) => first);
const good = { prompt: 'p', chosen: 'c, [x] {"é"', rejected: 'r\\" ]' };

test.each([1, 2, 5, 1000])('JSONL and arrays give the same rows in chunks of %i bytes', async (size) => {
  const lines = `\ufeff${JSON.stringify(good)}\r\n\n${JSON.stringify({ ...good, prompt: 'q' })}\n`;
  const array = ` [ ${JSON.stringify(good)} ,\n${JSON.stringify({ ...good, prompt: 'q' })}]\n `;
  expect(await read(lines, size)).toEqual([
    { line: 1, pair: good },
    { line: 3, pair: { ...good, prompt: 'q' } },
  ]);
  expect((await read(array, size)).map((row) => 'pair' in row && row.pair)).toEqual([good, { ...good, prompt: 'q' }]);
});

test('HH-RLHF dialogues are split after the last assistant marker', async () => {
  const dialogue = '\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Why?\n\nAssistant:';
  expect(await one({ chosen: `${dialogue} Because.`, rejected: `${dialogue} No.` })).toEqual({
    line: 1,
    pair: { prompt: dialogue, chosen: ' Because.', rejected: ' No.' },
  });
});

test('in message lists, the prompt is everything but the last message', async () => {
  const user = { role: 'user', content: 'q' };
  const answer = (content: string) => ({ role: 'assistant', content });
  expect(await one({ chosen: [user, answer('a')], rejected: [user, answer('b')] })).toEqual({
    line: 1,
    pair: { prompt: [user], chosen: [answer('a')], rejected: [answer('b')] },
  });
});

test('empty columns are ignored', async () => {
  const user = { role: 'user', content: 'q' };
  const answer = (content: string) => ({ role: 'assistant', content, tool_calls: [], name: null, refusal: '' });
  expect(await one({ prompt: null, chosen: [user, answer('a')], rejected: [user, answer('b')], score: null })).toEqual({
    line: 1,
    pair: {
      prompt: [user],
      chosen: [{ role: 'assistant', content: 'a' }],
      rejected: [{ role: 'assistant', content: 'b' }],
    },
  });
});

test.each([
  ['the column', '{"prompt":"p: NaN","chosen":"c","rejected":"r","score":NaN}', 'score is NaN'],
  ['the infinite column', '{"prompt":"p\\"","score": -Infinity,"chosen":"c","rejected":"r"}', 'score is -Infinity'],
  ['the list', '{"data": [{"prompt": "p", "chosen": "c", "rejected": "r"}]}', "in a list 'data'"],
])('the error names %s that makes a row unusable', async (_, row, problem) => {
  const [first] = await read(row);
  expect(first).toMatchObject({ error: { message: expect.stringContaining(problem) as string } });
});

test.each([
  ['CSV', 'prompt,chosen,rejected\nq,a,b\n'],
  ['CSV', '"prompt"\t"chosen"\t"rejected"\r\n'],
  ['Parquet', 'PAR1\x15\x04'],
  ['one JSON object over several lines', '{\n  "data": [\n'],
])('a file in another format is refused by naming the format: %s', async (name, text) => {
  await expect(read(text, 1000)).rejects.toMatchObject({ reason: 'INVALID_FILE' });
  await expect(read(text, 1000)).rejects.toThrow(name);
});

test.each([
  ['BROKEN_JSON', '{"prompt": '],
  ['WRONG_TYPE', '[1]\n'.replace('[1]', '"text"')],
  ['MISSING_FIELD', '{"prompt": "p", "chosen": "c"}'],
  ['MISSING_FIELD', '{"chosen": "Paris ", "rejected": "London"}'],
  ['WRONG_TYPE', '{"prompt": 1, "chosen": "c", "rejected": "r"}'],
  ['WRONG_TYPE', '{"prompt": "p", "chosen": "c", "rejected": [{"role": "assistant", "content": "r"}]}'],
  ['EMPTY_PROMPT', '{"prompt": " ", "chosen": "c", "rejected": "r"}'],
  ['EMPTY_RESPONSE', '{"prompt": "p", "chosen": "", "rejected": "r"}'],
  ['IDENTICAL_RESPONSES', '{"prompt": "p", "chosen": "r", "rejected": "r"}'],
  ['INVALID_TEXT', '{"prompt": "p\\u0000", "chosen": "c", "rejected": "r"}'],
  ['INVALID_TEXT', '{"prompt": "p\\ud800", "chosen": "c", "rejected": "r"}'],
  ['PROMPTS_DIFFER', '{"chosen": "a\\n\\nAssistant: x", "rejected": "b\\n\\nAssistant: y"}'],
  [
    'UNKNOWN_FIELD',
    '{"prompt": [{"role": "user", "content": "q", "tool_calls": [{"id": "1"}]}], "chosen": "c", "rejected": "r"}',
  ],
])('%s: %s', async (reason, row) => {
  expect(refusal((await read(row))[0])).toBe(reason);
});

test('bytes that are not valid UTF-8 are refused by row', async () => {
  const rows = await read(Buffer.concat([Buffer.from([0x7b, 0xff, 0x7d, 0x0a]), Buffer.from(JSON.stringify(good))]));
  expect([refusal(rows[0]), refusal(rows[1])]).toEqual(['INVALID_TEXT', undefined]);
});

test.each([
  ['', 'the file is empty'],
  [' \n ', 'the file is empty'],
  ['[{"prompt": "p"}', 'the array is not closed; it ends in row 1'],
  ['[{}] x', 'continues after the end'],
  ['[{},,{}]', 'nothing at position 2'],
])('a file of %j is refused', async (text, message) => {
  await expect(read(text)).rejects.toThrow(message);
});

test('a row that is too large is skipped without being kept in memory', async () => {
  const big = `{"prompt": "${'x'.repeat(5 * 1024 * 1024)}"}\n`;
  const rows = await read(big + JSON.stringify(good), 1 << 20);
  expect([refusal(rows[0]), refusal(rows[1])]).toEqual(['ROW_TOO_LARGE', undefined]);
});

test('texts that merely begin with the same characters are not split', async () => {
  const row = { chosen: 'Where is the bird? In the sky.', rejected: 'Where is the bird? In the sea.' };
  expect(refusal(await one(row))).toBe('MISSING_FIELD');
});

const shared = sharedFolder();
test.skipIf(shared === undefined)(
  'HH-RLHF: the parts of a dialogue add up to the whole, and a dialogue that cannot be split is refused',
  async () => {
    const bytes = gunzipSync(readFileSync(join(shared!, 'data/hh-rlhf/harmless-base.first1500.jsonl.gz')));
    const dialogues = bytes
      .toString()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<'chosen' | 'rejected', string>);
    const rows = await read(bytes, 65_536);
    const refused = new Map<string, number>();
    rows.forEach((row, index) => {
      if ('error' in row) {
        refused.set(row.error.refusal, (refused.get(row.error.refusal) ?? 0) + 1);
        return;
      }
      const { prompt, chosen, rejected } = row.pair as Record<'prompt' | 'chosen' | 'rejected', string>;
      expect(prompt.endsWith('\n\nAssistant:')).toBe(true);
      expect([prompt + chosen, prompt + rejected]).toEqual([dialogues[index]!.chosen, dialogues[index]!.rejected]);
    });
    // Counted by a separate program: one dialogue differs before its last turn, and four have an empty answer.
    expect(Object.fromEntries(refused)).toEqual({ PROMPTS_DIFFER: 1, EMPTY_RESPONSE: 4 });
  },
);
