import { CoverageState, ExportState, PushState, RunState, TrainingState } from '@pairwise/api';

type State = RunState | CoverageState | TrainingState | ExportState | PushState;

const endStates: ReadonlySet<State> = new Set<State>([
  RunState.SUCCEEDED,
  RunState.FAILED,
  RunState.CANCELLED,
  CoverageState.COMPLETE,
  CoverageState.FAILED,
  CoverageState.CANCELLED,
  TrainingState.SUCCEEDED,
  TrainingState.FAILED,
  TrainingState.CANCELLED,
  ExportState.SUCCEEDED,
  ExportState.FAILED,
  ExportState.CANCELLED,
  PushState.SUCCEEDED,
  PushState.FAILED,
  PushState.CANCELLED,
]);

/**
 * Whether a run, coverage, training, export or push has ended, so that its state changes only if it is retried or started
 * again. A state that this build does not know does not count as ended.
 */
export function hasEnded({ state }: { state: State }): boolean {
  return endStates.has(state);
}
