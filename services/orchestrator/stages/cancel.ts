import { CoverageState, ExportState, TrainingState, type Run } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import type { Driver } from '../driver.ts';
import { pause } from '../follow.ts';
import { outputsOf } from '../run.ts';

/**
 * Stops what a cancelled run has under way at its peers, and waits until it has stopped. A model that is being imported is
 * left alone: other runs may wait for it. So are coverages that other runs began.
 */
export async function cancelPeers({ peers }: Driver, run: Run, signal: AbortSignal): Promise<void> {
  const { export: exporting, training, coverage, evalCoverage } = outputsOf(run);
  if (exporting !== '') {
    await untilStopped(
      async () => (await peers.export.cancelExport({ name: exporting })).export!.state,
      exportMoves,
      signal,
    );
    return;
  }
  if (training !== '') {
    await untilStopped(
      async () => (await peers.training.cancelTraining({ name: training })).training!.state,
      trainingMoves,
      signal,
    );
    return;
  }
  for (const name of [coverage, evalCoverage].filter((each) => each !== '')) {
    await untilStopped(
      async () => (await peers.reference.cancelCoverage({ name })).coverage!.state,
      coverageMoves,
      signal,
    );
  }
}

const exportMoves: readonly string[] = [
  ExportState.QUEUED,
  ExportState.RUNNING,
  ExportState.VERIFYING,
  ExportState.CANCELLING,
];
const trainingMoves: readonly string[] = [TrainingState.QUEUED, TrainingState.RUNNING, TrainingState.CANCELLING];
const coverageMoves: readonly string[] = [CoverageState.COMPUTING];

/** Cancels, which may be repeated, until the state is none of those in which something moves. */
async function untilStopped(
  cancel: () => Promise<string>,
  moving: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  try {
    while (moving.includes(await cancel())) await pause(signal);
  } catch (error) {
    if (!(error instanceof PairwiseError) || error.reason !== 'NOT_FOUND') throw error;
  }
}
