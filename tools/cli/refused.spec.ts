import { stripVTControlCharacters } from 'node:util';
import { RunEvent, RunOutputs } from '@pairwise/api';
import { afterEach, expect, test, vi } from 'vitest';
import { pairsSummary, refusedTable } from './refused.ts';
import { linesView } from './watch/lines.ts';
import { terminalView } from './watch/terminal.ts';

afterEach(() => void vi.restoreAllMocks());

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

test('the pairs of a run are shown with those that were left out, and a remedy', () => {
  expect(pairsSummary(undefined)).toBe('');
  expect(pairsSummary(RunOutputs.create({}))).toBe('');
  const leftOut = [{ reason: 'TOO_LONG', count: 127, firstLines: [3], firstProblem: 'it has 1900 tokens' }];
  const outputs = RunOutputs.fromPartial({
    pairs: { encodedCount: 1155, conversationCount: 1000, leftOutCount: 127, leftOut, remedy: 'Raise max_length.' },
    evalPairs: { encodedCount: 20, conversationCount: 20 },
  });
  expect(stripVTControlCharacters(pairsSummary(outputs)).split('\n')).toEqual([
    'training pairs    1,155 encoded (1,000 conversations, 155 plain texts), 127 left out',
    'evaluation pairs  20 encoded (20 conversations)',
    '',
    'TRAINING PAIRS LEFT OUT  PAIRS  POSITIONS  FIRST PROBLEM',
    'TOO_LONG                   127  3, …       it has 1900 tokens',
    'Raise max_length.',
  ]);
});

test.each([
  ['lines', linesView, 'warning: 128 of 283 training pairs are left out'],
  ['a terminal', terminalView, '▲ 128 of 283 training pairs are left out'],
])('a warning stands out in a run shown as %s', (_kind, open, text) => {
  const written: string[] = [];
  vi.spyOn(process.stdout, 'write').mockImplementation((chunk) => {
    written.push(stripVTControlCharacters(String(chunk)));
    return true;
  });
  const message = '128 of 283 training pairs are left out';
  const view = open();
  view.event(RunEvent.create({ type: 'pairs.left_out', stage: 'validate', message, warning: true, time: new Date() }));
  view.close();
  expect(written.join('')).toContain(text);
});
