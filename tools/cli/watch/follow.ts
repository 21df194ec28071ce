import { setTimeout as sleep } from 'node:timers/promises';
import { RunState, type WatchRunResponse } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { hasEnded } from '@pairwise/rpc';
import type { Services } from '../connection.ts';

/** How long the platform may be unreachable before a watch gives up; long enough to restart it. */
const maxOutageMs = 120_000;
const retryMs = 1000;

/**
 * Yields every message about a run until it ends. A broken stream continues at its resume token, so that nothing is
 * missed or repeated; `lost` is called each time. Throws UNAVAILABLE if the platform is unreachable for two minutes.
 */
export async function* followRun(
  services: Services,
  name: string,
  { signal, lost }: { signal: AbortSignal; lost: (error: PairwiseError) => void },
): AsyncGenerator<WatchRunResponse, void> {
  let resumeToken = '';
  let lastMessageAt = Date.now();
  for (;;) {
    try {
      for await (const message of services.orchestrator.watchRun({ name, resumeToken }, { signal })) {
        ({ resumeToken } = message);
        lastMessageAt = Date.now();
        yield message;
        if (message.payload?.$case === 'run' && hasEnded(RunState, message.payload.value)) return;
      }
    } catch (error) {
      const unreachable = error instanceof PairwiseError && error.reason === 'UNAVAILABLE';
      if (!unreachable || signal.aborted || Date.now() - lastMessageAt > maxOutageMs) throw error;
      lost(error);
    }
    await sleep(retryMs, undefined, { signal });
  }
}
