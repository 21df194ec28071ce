import type { Status } from '@pairwise/api';
import { errorOf } from '@pairwise/rpc';
import { setTimeout as sleep } from 'node:timers/promises';

const pollMs = 250;

/** How a resource of a peer is followed to its end. */
export interface Following<Resource> {
  read: () => Promise<Resource>;
  ended: (resource: Resource) => boolean;
  /** Why it failed, if it did. */
  error: (resource: Resource) => Status | undefined;
  /** Called with every reading. */
  changed?: (resource: Resource) => Promise<void>;
}

/** Polls a resource of a peer until it has ended; throws its error, or the signal's reason once that is aborted. */
export async function follow<Resource>(
  { read, ended, error, changed }: Following<Resource>,
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

/** Waits a moment between two readings. Throws the signal's reason once that is aborted. */
export async function pause(signal: AbortSignal): Promise<void> {
  try {
    await sleep(pollMs, undefined, { signal });
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
}
