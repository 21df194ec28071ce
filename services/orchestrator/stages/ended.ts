import { CoverageState, ExportState, TrainingState } from '@pairwise/api';

const endStates: readonly string[] = [
  CoverageState.COMPLETE,
  CoverageState.FAILED,
  CoverageState.CANCELLED,
  TrainingState.SUCCEEDED,
  TrainingState.FAILED,
  TrainingState.CANCELLED,
  ExportState.SUCCEEDED,
  ExportState.FAILED,
  ExportState.CANCELLED,
];

/** Whether a peer's work is over in this state. A state that this build does not know is not the end. */
export function isEnd(state: CoverageState | TrainingState | ExportState): boolean {
  return endStates.includes(state);
}
