import { setTimeout as sleep } from 'node:timers/promises';
import { PairwiseError } from '@pairwise/errors';
import { openClient } from '@pairwise/rpc';

/** The part of grpc.health.v1 that is used here. */
const health = {
  check: {
    path: '/grpc.health.v1.Health/Check',
    requestStream: false,
    responseStream: false,
    // One field: the probe's name.
    requestSerialize: ({ probe }: { probe: string }) => Buffer.from(`\n${String.fromCharCode(probe.length)}${probe}`),
    requestDeserialize: (_bytes: Buffer) => ({ probe: '' }),
    responseSerialize: (_reply: { serving: boolean }) => Buffer.alloc(0),
    // One field: an enum of number 1, in which SERVING is 1.
    responseDeserialize: (bytes: Buffer) => ({ serving: bytes[0] === 8 && bytes[1] === 1 }),
  },
} as const;

/** Waits until a process on loopback reports that it is ready. Throws the signal's reason when aborted. */
export async function untilReady(address: string, signal: AbortSignal): Promise<void> {
  const client = openClient(health, { address });
  try {
    for (;;) {
      signal.throwIfAborted();
      try {
        if ((await client.check({ probe: '' }, { signal })).serving) return;
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
  const client = openClient(health, { address });
  return {
    lives: async (signal) => {
      try {
        return (await client.check({ probe: 'liveness' }, { signal })).serving;
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
