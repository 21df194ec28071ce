import { RunState } from '@pairwise/api';
import { expect, test } from 'vitest';
import { enumName } from './enumName.ts';

test('a value has its name, or its number if it is not known', () => {
  expect(enumName(RunState, RunState.SUCCEEDED)).toBe('SUCCEEDED');
  expect(enumName(RunState, 99 as RunState)).toBe('99');
});
