import { DBOS } from '@dbos-inc/dbos-sdk';
import { runWithAbortableDbRetries } from '@dbos-inc/dbos-sdk/internal/context';
import { DBOSExecutor } from '@dbos-inc/dbos-sdk/internal/dbos-executor';
import { type WorkflowQueue, wfQueueRunner } from '@dbos-inc/dbos-sdk/internal/wfqueue';
import { openBell } from './bell.ts';
import { pollMs } from './dbos.ts';

// DBOS's own loop polls queues at a fixed rate, with or without work, and cannot be woken.
wfQueueRunner.dispatchLoop = () => Promise.resolve();
/** The body of that loop: claims the work that may run here now, and starts to execute it. */
const { pollQueue } = wfQueueRunner as unknown as {
  pollQueue(executor: DBOSExecutor, queue: WorkflowQueue): Promise<boolean>;
};

/** The longest pause between polls; whoever finds work rings the bell. */
const longestMs = 60_000;

export interface Dispatcher {
  /** Polls the queues at once. */
  ring(): void;
  /** Resolves when dispatching has ended, after the signal was aborted. */
  ended: Promise<void>;
}

/**
 * Pulls work from queues, `queues[name]` pieces at a time: at once when notified, and every 200 ms while `isBusy` says
 * that work is waiting or being executed.
 */
export async function startDispatch(
  queues: Record<string, number>,
  isBusy: () => boolean,
  signal: AbortSignal,
): Promise<Dispatcher> {
  const registered = await Promise.all(
    Object.entries(queues).map(([name, workerConcurrency]) =>
      DBOS.registerQueue(name, { workerConcurrency, minPollingIntervalMs: pollMs, onConflict: 'always_update' }),
    ),
  );
  const bell = openBell();
  const poll = async () => {
    while (!signal.aborted) {
      for (const queue of registered) await pollQueue.call(wfQueueRunner, DBOSExecutor.globalInstance!, queue);
      await bell.wait(isBusy() ? pollMs : longestMs, signal);
    }
  };
  return { ring: () => bell.ring(), ended: runWithAbortableDbRetries(signal, poll) };
}
