import { CoverageState, ExportState, TrainingState, type Run } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { statusOf } from '@pairwise/rpc';
import type { Driver } from '../driver.ts';
import { pause } from '../follow.ts';
import { outputsOf } from '../run.ts';
import type { Happening } from '../runs.ts';

/**
 * Stops what a run that has ended has under way at its peers, and waits until it has stopped. A model that is being
 * imported is left alone: other runs may wait for it. So are coverages that were begun before the run; a later run that
 * waits for one of this run's begins it again. Work that cannot be stopped keeps no run from its end: what is returned
 * says which, for the run's log.
 */
export async function cancelPeers({ peers, patienceMs }: Driver, run: Run, signal: AbortSignal): Promise<Happening[]> {
  const { export: exporting, training, coverage, evalCoverage } = outputsOf(run);
  const options = { signal, deadline: new Date(Date.now() + patienceMs) };
  const cancelCoverage = async (name: string) => {
    const { coverage: now } = await peers.reference.getCoverage({ name }, options);
    if (now!.createTime! < run.createTime!) return CoverageState.CANCELLED;
    return (await peers.reference.cancelCoverage({ name }, options)).coverage!.state;
  };
  const cancelTraining = async (name: string) =>
    (await peers.training.cancelTraining({ name }, options)).training!.state;
  const cancelExport = async (name: string) => (await peers.export.cancelExport({ name }, options)).export!.state;
  const underWay: [string, (name: string) => Promise<string>][] = [
    [exporting, cancelExport],
    [training, cancelTraining],
    [coverage, cancelCoverage],
    [evalCoverage, cancelCoverage],
  ];
  const begun = underWay.filter(([name]) => name !== '');
  return (await Promise.all(begun.map(([name, cancel]) => stop(name, cancel, options)))).flat();
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

/** Of a peer that is away, or whose disk is full: it may soon cancel. */
const passing: readonly string[] = ['UNAVAILABLE', 'DISK_FULL'];

/** Cancels, which may be repeated, until nothing moves, the peer says that it cannot, or the deadline has passed. */
async function stop(
  name: string,
  cancel: (name: string) => Promise<string>,
  { signal, deadline }: { signal: AbortSignal; deadline: Date },
): Promise<Happening[]> {
  let problem = 'it was still going on';
  do {
    try {
      if (!moving.includes(await cancel(name))) return [];
    } catch (error) {
      // This process is stopping; another one goes on.
      signal.throwIfAborted();
      const reason = error instanceof PairwiseError ? error.reason : 'INTERNAL';
      if (reason === 'NOT_FOUND') return [];
      const { message } = statusOf(error);
      problem = passing.includes(reason) ? `its service is away: ${message}` : message;
      if (!passing.includes(reason)) break;
    }
    await pause(signal);
  } while (Date.now() < deadline.getTime());
  return [{ type: 'work.not_stopped', message: `${name} could not be stopped: ${problem}` }];
}
