import { CoverageState, ExportState, PushState, RunState, TrainingState } from '@pairwise/api';
import { expect, test } from 'vitest';
import { hasEnded } from './ended.ts';

test.each([
  ['a run', RunState, ['CANCELLED', 'SUCCEEDED', 'FAILED']],
  ['a coverage', CoverageState, ['COMPLETE', 'FAILED', 'CANCELLED']],
  ['a training', TrainingState, ['CANCELLED', 'SUCCEEDED', 'FAILED']],
  ['an export', ExportState, ['CANCELLED', 'SUCCEEDED', 'FAILED']],
  ['a push', PushState, ['CANCELLED', 'SUCCEEDED', 'FAILED']],
])('%s has ended once it succeeded, failed or was cancelled', (_, states: Readonly<Record<string, number>>, ends) => {
  expect(Object.keys(states).filter((name) => hasEnded(states, { state: states[name]! }))).toEqual(ends);
});

test('a state that is not known has not ended', () => {
  expect(hasEnded(RunState, { state: 99 as RunState })).toBe(false);
});
