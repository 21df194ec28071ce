import { ChatTemplateMode, DatasetReport, Encoding } from '@pairwise/api';
import { expect, test } from 'vitest';
import { encodedSet, pairsEvents } from './pairs.ts';

const refused = (reason: string, count: number, firstProblem: string) => ({
  reason,
  count,
  firstLines: [3, 7],
  firstProblem,
});
const long = refused('TOO_LONG', 127, 'prompt and response have 1900 tokens of at most 1024');

function encodingOf(leftOut: ReturnType<typeof refused>[], change: Partial<Encoding> = {}): Encoding {
  const refusedCount = leftOut.reduce((sum, { count }) => sum + count, 0);
  return Encoding.create({
    pairCount: 155,
    conversationCount: 155,
    hasChatTemplate: true,
    chatTemplate: ChatTemplateMode.AUTO,
    tokenCount: 9000n,
    longestLength: 900,
    report: DatasetReport.create({ acceptedCount: 155, refusedCount, refused: leftOut }),
    ...change,
  });
}

test('pairs that are left out are a warning with reasons, the first problems and a remedy', () => {
  const twins = refused('IDENTICAL_RESPONSES', 1, 'chosen and rejected are the same tokens');
  const remedy = 'To keep the pairs that are too long, raise max_length.';
  const set = encodedSet('training', encodingOf([long, twins], { remedy }));
  expect(set.pairs).toMatchObject({ encodedCount: 155, leftOutCount: 128, leftOut: [long, twins], remedy });
  const [warning, summary] = pairsEvents([set]);
  expect(warning).toEqual({
    type: 'pairs.left_out',
    stage: 'validate',
    warning: true,
    message:
      '128 of 283 training pairs are left out: 127 TOO_LONG (the first is pair 3: prompt and response have 1900 tokens ' +
      'of at most 1024), 1 IDENTICAL_RESPONSES (the first is pair 3: chosen and rejected are the same tokens). ' +
      'To keep the pairs that are too long, raise max_length.',
  });
  expect(summary).toEqual({
    type: 'dataset.encoded',
    stage: 'validate',
    message: '155 training pairs (155 conversations, 0 plain texts) with 9000 tokens, the longest with 900.',
  });
});

test('every set of pairs is reported, and nothing is warned of if no pair is left out', () => {
  const training = encodedSet('training', encodingOf([]));
  const evaluation = encodedSet('evaluation', encodingOf([long]));
  expect(pairsEvents([training]).map(({ type }) => type)).toEqual(['dataset.encoded']);
  const events = pairsEvents([training, evaluation]);
  expect(events.map(({ type }) => type)).toEqual(['pairs.left_out', 'dataset.encoded']);
  expect(events[0]!.message).toContain('127 of 282 evaluation pairs');
  expect(events[1]!.message).toMatch(/^155 training pairs .* 155 evaluation pairs /);
});

test('texts beside a chat template are reported, and warned of unless the caller asked for them', () => {
  const eventsOf = (change: Partial<Encoding>) =>
    pairsEvents([encodedSet('training', encodingOf([], { conversationCount: 115, ...change }))]);
  const [warning] = eventsOf({});
  expect(warning).toMatchObject({ type: 'pairs.plain_texts', warning: true });
  expect(warning!.message).toMatch(/^40 of 155 training pairs stay plain texts because their prompts are transcripts/);
  expect(warning!.message).toContain('chat_template: APPLY');
  expect(warning!.message).toMatch(/If all pairs are meant to be plain texts, set NONE\.$/);
  const [asked] = eventsOf({ chatTemplate: ChatTemplateMode.NONE, conversationCount: 0 });
  expect(asked).toMatchObject({ type: 'pairs.plain_texts', warning: false });
  expect(asked!.message).toMatch(/^155 of 155 training pairs .* chat_template is NONE.* chat_template: AUTO/);
  expect(
    eventsOf({ hasChatTemplate: false, conversationCount: 0 }).map(({ type, message }) => [type, message]),
  ).toEqual([['dataset.encoded', '155 training pairs with 9000 tokens, the longest with 900.']]);
});
