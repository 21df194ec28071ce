import { TruncationMode } from '@pairwise/api';
import { expect, test } from 'vitest';
import { resolveTruncationMode } from './truncation.ts';

test('pairs that are too long are refused unless the caller says otherwise', () => {
  expect(resolveTruncationMode(undefined)).toBe(TruncationMode.REFUSE);
  expect(resolveTruncationMode(TruncationMode.UNSPECIFIED)).toBe(TruncationMode.REFUSE);
  expect(resolveTruncationMode(TruncationMode.KEEP_END)).toBe(TruncationMode.KEEP_END);
});
