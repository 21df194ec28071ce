import { setTimeout as sleep } from 'node:timers/promises';
import type { Status } from '@pairwise/api';
import { errorOf } from '@pairwise/rpc';

const pollMs = 250;

/** A resource of a peer that ends by itself. */
export interface Ending<Resource> {
  read: () => Promise<Resource>;
  ended: (resource: Resource) => boolean;
  /** Why it failed, if it did. */
  error: (resource: Resource) => Status | undefined;
  /** Called with every reading. Default: nothing. */
  changed?: (resource: Resource) => Promise<void>;
}

/** Polls a resource until it has ended. Throws its error, or the signal's reason once the signal is aborted. */
export async function untilEnded<Resource>(
  { read, ended, error, changed }: Ending<Resource>,
  signal: AbortSignal,
): Promise<Resource> {
  for (;;) {
    const resource = await read();
    await changed?.(resource);
    if (ended(resource)) {
      const status = error(resource);
      if (status !== undefined) throw errorOf(status);
      return resource;
    }
    await pause(signal);
  }
}

/** Waits 250 ms, the time between two readings. Throws the signal's reason once the signal is aborted. */
export async function pause(signal: AbortSignal): Promise<void> {
  try {
    await sleep(pollMs, undefined, { signal });
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
}
