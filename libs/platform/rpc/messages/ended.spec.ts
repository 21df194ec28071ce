import { CoverageState, ExportState, RunState, TrainingState } from '@pairwise/api';
import { expect, test } from 'vitest';
import { hasEnded } from './ended.ts';

test.each<[string, Parameters<typeof hasEnded>[0]['state'][], string[]]>([
  ['a run', Object.values(RunState), [RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED]],
  ['a coverage', Object.values(CoverageState), [CoverageState.COMPLETE, CoverageState.FAILED, CoverageState.CANCELLED]],
  [
    'a training',
    Object.values(TrainingState),
    [TrainingState.SUCCEEDED, TrainingState.FAILED, TrainingState.CANCELLED],
  ],
  ['an export', Object.values(ExportState), [ExportState.SUCCEEDED, ExportState.FAILED, ExportState.CANCELLED]],
])('%s has ended once it succeeded, failed or was cancelled', (_, states, ends) => {
  expect(states.filter((state) => hasEnded({ state })).sort()).toEqual(ends.toSorted());
});
