import { RunState, type Run, type Status } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { errorOf } from '@pairwise/rpc';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Driver } from './driver.ts';

/** How often a peer's resource, and the run's own cancellation, are looked at. */
const pollMs = 250;

/** The error by which a cancelled run ends. */
export function cancelled(): PairwiseError {
  return new PairwiseError('CANCELLED', 'the run was cancelled');
}

/** Ends the stage at hand if the run is to be cancelled. */
export function refuseCancelled({ state }: Run): void {
  if (state === RunState.CANCELLING) throw cancelled();
}

/** Repeats a call for as long as the peer is out of reach: it comes back, or somebody cancels the run. */
export async function patiently<T>({ runs }: Driver, name: string, call: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof PairwiseError) || error.reason !== 'UNAVAILABLE') throw error;
      refuseCancelled(await runs.get(name));
      await sleep(pollMs);
    }
  }
}

/** Does `work`; calls `cancel` once if the run is cancelled in the meantime, and still waits for `work` to end. */
export async function whileUncancelled<T>(
  driver: Driver,
  name: string,
  cancel: () => Promise<unknown>,
  work: () => Promise<T>,
): Promise<T> {
  const done = new AbortController();
  const watching = (async () => {
    for (;;) {
      await sleep(pollMs, undefined, { signal: done.signal });
      if ((await driver.runs.get(name)).state === RunState.CANCELLING) return cancel();
    }
  })();
  // The watch ends by its abort; what else may go wrong there must not be lost.
  const watched = watching.catch((error: unknown) => {
    if (!done.signal.aborted) throw error;
  });
  try {
    return await Promise.race([work(), watched.then(() => new Promise<never>(() => undefined))]);
  } finally {
    done.abort();
  }
}

/** How a resource of a peer is followed to its end. */
export interface Following<Resource> {
  read: () => Promise<Resource>;
  ended: (resource: Resource) => boolean;
  /** Why it failed, if it did. */
  error: (resource: Resource) => Status | undefined;
  /** Asks the peer to stop. */
  cancel: () => Promise<unknown>;
  /** Called with every reading. */
  changed?: (resource: Resource) => Promise<void>;
}

/** Polls a resource of a peer until it has ended; throws its error. */
export async function follow<Resource>(
  driver: Driver,
  name: string,
  { read, ended, error, cancel, changed }: Following<Resource>,
): Promise<Resource> {
  let asked = false;
  for (;;) {
    const resource = await patiently(driver, name, read);
    await changed?.(resource);
    if (ended(resource)) {
      const status = error(resource);
      if (status !== undefined) throw errorOf(status);
      return resource;
    }
    if (!asked && (await driver.runs.get(name)).state === RunState.CANCELLING) {
      asked = true;
      await cancel();
    }
    await sleep(pollMs);
  }
}
