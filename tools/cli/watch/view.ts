import type { MetricPoint, Run, RunEvent } from '@pairwise/api';

/** One way of showing a run to a user. */
export interface View {
  /** The run as it is now. */
  run(run: Run): void;
  event(event: RunEvent): void;
  metrics(point: MetricPoint): void;
  /** The connection is gone and is being made again. */
  lost(message: string): void;
  /** The watch is over, whether the run is or not. */
  close(): void;
}
