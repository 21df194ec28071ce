import { CoverageState, ExportState, TrainingState, type Run } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import type { Driver } from '../driver.ts';
import { pause } from '../follow.ts';
import { outputsOf } from '../run.ts';

/**
 * Stops what a run that has ended has under way at its peers, and waits until it has stopped. A model that is being
 * imported is left alone: other runs may wait for it. So are coverages that were begun before the run; a later run that
 * waits for one of this run's begins it again.
 */
export async function cancelPeers({ peers }: Driver, run: Run, signal: AbortSignal): Promise<void> {
  const { export: exporting, training, coverage, evalCoverage } = outputsOf(run);
  const cancelExport = async () => (await peers.export.cancelExport({ name: exporting })).export!.state;
  const cancelTraining = async () => (await peers.training.cancelTraining({ name: training })).training!.state;
  if (exporting !== '') await untilStopped(cancelExport, signal);
  if (training !== '') await untilStopped(cancelTraining, signal);
  for (const name of [coverage, evalCoverage].filter((each) => each !== '')) {
    await untilStopped(async () => {
      const { coverage: now } = await peers.reference.getCoverage({ name });
      if (now!.createTime! < run.createTime!) return CoverageState.CANCELLED;
      return (await peers.reference.cancelCoverage({ name })).coverage!.state;
    }, signal);
  }
}

/** The states in which something moves. */
const moving: readonly string[] = [
  ExportState.QUEUED,
  ExportState.RUNNING,
  ExportState.VERIFYING,
  ExportState.CANCELLING,
  TrainingState.QUEUED,
  TrainingState.RUNNING,
  TrainingState.CANCELLING,
  CoverageState.COMPUTING,
];

/** Cancels, which may be repeated, until nothing moves. */
async function untilStopped(cancel: () => Promise<string>, signal: AbortSignal): Promise<void> {
  try {
    while (moving.includes(await cancel())) await pause(signal);
  } catch (error) {
    if (!(error instanceof PairwiseError) || error.reason !== 'NOT_FOUND') throw error;
  }
}
