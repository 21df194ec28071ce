import type { MetricPoint, Run, RunEvent } from '@pairwise/api';

/** One way of showing a run to a user. */
export interface View {
  /** The current state of the run. */
  run(run: Run): void;
  event(event: RunEvent): void;
  metrics(point: MetricPoint): void;
  /** The connection was lost and is being restored. */
  lost(message: string): void;
  /** Called when watching ends, whether or not the run has. */
  close(): void;
}
