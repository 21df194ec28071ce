import { setTimeout as sleep } from 'node:timers/promises';
import { PairwiseError } from '@pairwise/errors';
import { openClient } from '@pairwise/rpc';

/** grpc.health.v1, as far as it is asked here: of the whole server, whether it serves. */
const health = {
  check: {
    path: '/grpc.health.v1.Health/Check',
    requestStream: false,
    responseStream: false,
    requestSerialize: (_whole: object) => Buffer.alloc(0),
    requestDeserialize: (_bytes: Buffer): object => ({}),
    responseSerialize: (_reply: { serving: boolean }) => Buffer.alloc(0),
    // One field: an enum of number 1, in which SERVING is 1.
    responseDeserialize: (bytes: Buffer) => ({ serving: bytes[0] === 8 && bytes[1] === 1 }),
  },
} as const;

/** Waits until a server on loopback says that it serves. Throws the signal's reason once that is aborted. */
export async function untilServing(address: string, signal: AbortSignal): Promise<void> {
  const client = openClient(health, { address });
  try {
    for (;;) {
      signal.throwIfAborted();
      try {
        if ((await client.check({}, { signal })).serving) return;
      } catch (error) {
        if (!(error instanceof PairwiseError) || error.reason !== 'UNAVAILABLE') throw error;
      }
      await sleep(50, undefined, { signal });
    }
  } finally {
    client.close();
  }
}
