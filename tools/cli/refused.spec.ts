import { stripVTControlCharacters } from 'node:util';
import { expect, test } from 'vitest';
import { refusedTable } from './refused.ts';

test('refused rows are shown with where the first ones are and what is wrong with the first', () => {
  const refused = [
    { reason: 'MISSING_FIELD', count: 1, firstLines: [2], firstProblem: 'chosen is missing' },
    { reason: 'TOO_LONG', count: 30, firstLines: [3, 4, 5, 6, 7, 8, 9, 10, 11], firstProblem: '' },
  ];
  const lines = stripVTControlCharacters(refusedTable(['REFUSED BECAUSE', 'ROWS', 'LINES'], refused)).split('\n');
  expect(lines).toEqual([
    'REFUSED BECAUSE  ROWS  LINES                       FIRST PROBLEM',
    'MISSING_FIELD       1  2                           chosen is missing',
    'TOO_LONG           30  3, 4, 5, 6, 7, 8, 9, 10, …',
  ]);
});
