import { setTimeout as sleep } from 'node:timers/promises';
import { type Run, RunState, type WatchRunResponse } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import type { Services } from '../connection.ts';

/** Whether nothing more will happen to a run unless it is retried. */
export function hasEnded({ state }: Run): boolean {
  return state === RunState.SUCCEEDED || state === RunState.FAILED || state === RunState.CANCELLED;
}

/** How long the platform may be away before a watch gives up: time enough to restart it. */
const patienceMs = 120_000;
const pauseMs = 1000;

/**
 * Everything that happens to a run until it has ended. A stream that breaks is taken up again at its resume token, so
 * nothing is missed or told twice; `lost` is called each time. Throws UNAVAILABLE after two minutes without the platform.
 */
export async function* followRun(
  services: Services,
  name: string,
  { signal, lost }: { signal: AbortSignal; lost: (error: PairwiseError) => void },
): AsyncGenerator<WatchRunResponse, void> {
  let resumeToken = '';
  let heardOf = Date.now();
  for (;;) {
    try {
      for await (const message of services.orchestrator.watchRun({ name, resumeToken }, { signal })) {
        ({ resumeToken } = message);
        heardOf = Date.now();
        yield message;
        if (message.payload?.$case === 'run' && hasEnded(message.payload.value)) return;
      }
    } catch (error) {
      const away = error instanceof PairwiseError && error.reason === 'UNAVAILABLE';
      if (!away || signal.aborted || Date.now() - heardOf > patienceMs) throw error;
      lost(error);
    }
    await sleep(pauseMs, undefined, { signal });
  }
}
