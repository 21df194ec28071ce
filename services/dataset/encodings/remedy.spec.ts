import { TruncationMode } from '@pairwise/api';
import type { Refusal } from '@pairwise/preference';
import { expect, test } from 'vitest';
import { remedyFor } from './remedy.ts';

const model = { maxLength: 2048 };
const reportOf = (count: number, reason: Refusal = 'TOO_LONG') => ({
  acceptedCount: 100 - count,
  refusedCount: count,
  refused: [{ reason, count, firstLines: [3], firstProblem: '' }],
});
const { REFUSE, KEEP_START, KEEP_END } = TruncationMode;

test('a remedy is given if more than 1 % of the pairs are too long', () => {
  const settings = { maxLength: 1024, truncationMode: REFUSE };
  expect(remedyFor(reportOf(1), settings, model)).toBe('');
  expect(remedyFor(reportOf(2), settings, model)).toBe(
    'To keep the pairs that are too long, raise max_length (now 1024; the model supports 2048), or set truncation_mode ' +
      'to KEEP_START, which cuts the end of responses.',
  );
  expect(remedyFor(reportOf(50, 'NOT_REVERSIBLE'), settings, model)).toBe('');
});

test.each([
  ['TOO_LONG', REFUSE, 2048, 'too long, set truncation_mode to KEEP_START'],
  ['PROMPT_TOO_LONG', REFUSE, 2048, 'too long, set truncation_mode to KEEP_END'],
  ['PROMPT_TOO_LONG', KEEP_START, 2048, 'too long, set truncation_mode to KEEP_END'],
  ['TOO_LONG', KEEP_END, 1024, 'too long, raise max_length (now 1024; the model supports 2048).'],
  ['TOO_LONG', KEEP_END, 2048, 'too long, shorten them: the model supports 2048 tokens.'],
] as const)('the remedy for %s with %s and max_length %i', (reason, truncationMode, maxLength, remedy) => {
  expect(remedyFor(reportOf(50, reason), { truncationMode, maxLength }, model)).toContain(remedy);
});
