import { CoverageState, ExportState, TrainingState, type Run } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { hasEnded, statusOf, type CallOptions } from '@pairwise/rpc';
import type { Peers } from '../peers.ts';
import { pause } from '../poll.ts';
import { outputsOf } from '../run.ts';
import type { NewEvent } from '../runLog.ts';
import type { RunDeps } from './context.ts';

/**
 * Cancels the work that a run has started at its peers, and waits until it has stopped. A model that is being imported or
 * quantised is left alone, since other runs may wait for it. So is a coverage that is older than the run; if a later run
 * waits for one that this run started, that run starts it again. Work that cannot be stopped does not keep the run from
 * ending: the events that are returned name it.
 */
export async function cancelPeers({ peers, patienceMs }: RunDeps, run: Run, signal: AbortSignal): Promise<NewEvent[]> {
  const deadline = new Date(Date.now() + patienceMs);
  const started = startedWork(peers, run, { signal, deadline });
  const outcomes = await Promise.all(
    started.map(async (work) => ({ name: work.name, outcome: await stop(work, signal, deadline) })),
  );
  const events: NewEvent[] = [];
  for (const { name, outcome } of outcomes) {
    if (outcome.stopped) continue;
    const message = `${name} could not be stopped: ${outcome.problem}`;
    events.push({ type: 'work.not_stopped', message, warning: true });
  }
  return events;
}

/** Work at a peer that can be cancelled. */
interface PeerWork {
  name: string;
  /** Asks for the work to be cancelled, which may be repeated. */
  cancel: () => Promise<'stopped' | 'stopping'>;
}

const progressOf = (ended: boolean) => (ended ? 'stopped' : 'stopping');

function startedWork({ export: exports, training: trainings, reference }: Peers, run: Run, options: CallOptions) {
  const outputs = outputsOf(run);
  const coverage = (name: string): PeerWork => ({
    name,
    cancel: async () => {
      const { coverage: now } = await reference.getCoverage({ name }, options);
      if (now!.createTime! < run.createTime!) return 'stopped';
      return progressOf(
        hasEnded(CoverageState, (await reference.cancelCoverage({ name, requestId: '' }, options)).coverage!),
      );
    },
  });
  const training = (name: string): PeerWork => ({
    name,
    cancel: async () =>
      progressOf(hasEnded(TrainingState, (await trainings.cancelTraining({ name, requestId: '' }, options)).training!)),
  });
  const exporting = (name: string): PeerWork => ({
    name,
    cancel: async () =>
      progressOf(hasEnded(ExportState, (await exports.cancelExport({ name, requestId: '' }, options)).export!)),
  });
  const all = [
    exporting(outputs.export),
    training(outputs.training),
    coverage(outputs.coverage),
    coverage(outputs.evalCoverage),
  ];
  return all.filter(({ name }) => name !== '');
}

/** Errors of a peer that is away or has a full disk, and may be able to cancel soon. */
const transient: readonly string[] = ['UNAVAILABLE', 'DISK_FULL'];

type Outcome = { stopped: true } | { stopped: false; problem: string };

/** Cancels work again and again until it has stopped, its peer refuses for good, or the deadline has passed. */
async function stop({ cancel }: PeerWork, signal: AbortSignal, deadline: Date): Promise<Outcome> {
  let problem = 'it was still active';
  do {
    try {
      if ((await cancel()) === 'stopped') return { stopped: true };
    } catch (error) {
      // This process is stopping; another one continues.
      signal.throwIfAborted();
      const reason = error instanceof PairwiseError ? error.reason : 'INTERNAL';
      if (reason === 'NOT_FOUND') return { stopped: true };
      const { message } = statusOf(error);
      if (!transient.includes(reason)) return { stopped: false, problem: message };
      problem = `its service is away: ${message}`;
    }
    await pause(signal);
  } while (Date.now() < deadline.getTime());
  return { stopped: false, problem };
}
