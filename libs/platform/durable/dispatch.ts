import { DBOS } from '@dbos-inc/dbos-sdk';
import { runWithAbortableDbRetries } from '@dbos-inc/dbos-sdk/internal/context';
import { DBOSExecutor } from '@dbos-inc/dbos-sdk/internal/dbos-executor';
import { type WorkflowQueue, wfQueueRunner } from '@dbos-inc/dbos-sdk/internal/wfqueue';
import { openBell } from './bell.ts';
import { pollMs } from './dbos.ts';

// DBOS's own loop looks at queues at a fixed pace, whether there is work or not, and cannot be woken.
wfQueueRunner.dispatchLoop = () => Promise.resolve();
/** What that loop is made of: claims what may run here now, and begins to execute it. */
const { pollQueue } = wfQueueRunner as unknown as {
  pollQueue(executor: DBOSExecutor, queue: WorkflowQueue): Promise<boolean>;
};

/** Longest wait; whoever finds work rings. */
const longestMs = 60_000;

export interface Dispatcher {
  /** Looks into the queues at once. */
  ring(): void;
  /** Resolves when it has ended, after its signal was aborted. */
  ended: Promise<void>;
}

/**
 * Pulls work from queues, `queues[name]` pieces at a time: at once when it is notified of some, and every 200 ms as long as
 * `isBusy` says that there is some, waiting or at work.
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
  const look = async () => {
    while (!signal.aborted) {
      for (const queue of registered) await pollQueue.call(wfQueueRunner, DBOSExecutor.globalInstance!, queue);
      await bell.wait(isBusy() ? pollMs : longestMs, signal);
    }
  };
  return { ring: () => bell.ring(), ended: runWithAbortableDbRetries(signal, look) };
}
