import { setTimeout as sleep } from 'node:timers/promises';
import { HealthCheckResponse_ServingStatus, HealthService } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { openClient } from '@pairwise/rpc';

/** Waits until a process on loopback reports that it is ready. Throws the signal's reason when aborted. */
export async function untilReady(address: string, signal: AbortSignal): Promise<void> {
  const client = openClient(HealthService, { address });
  try {
    for (;;) {
      signal.throwIfAborted();
      try {
        if ((await client.check({ service: '' }, { signal })).status === HealthCheckResponse_ServingStatus.SERVING)
          return;
      } catch (error) {
        if (!(error instanceof PairwiseError) || error.reason !== 'UNAVAILABLE') throw error;
      }
      await sleep(50, undefined, { signal });
    }
  } finally {
    client.close();
  }
}

/** Checks whether a process on loopback is alive. A frozen or stuck process is not. */
export function openLiveness(address: string): Liveness {
  const client = openClient(HealthService, { address });
  return {
    lives: async (signal) => {
      try {
        return (
          (await client.check({ service: 'liveness' }, { signal })).status === HealthCheckResponse_ServingStatus.SERVING
        );
      } catch (error) {
        if (error instanceof PairwiseError) return false;
        throw error;
      }
    },
    close: () => client.close(),
  };
}

export interface Liveness {
  /** Also false if there is no answer before the signal aborts. */
  lives(signal: AbortSignal): Promise<boolean>;
  close(): void;
}
