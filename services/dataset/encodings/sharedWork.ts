import { unlessAborted } from '@pairwise/rpc';

/** Work that callers with the same key share instead of doing it twice at the same time. */
export interface SharedWork<T> {
  /**
   * Returns the result of the work that runs under this key, and starts `work` if there is none. When the last caller is
   * aborted, so is the work.
   */
  run(key: string, signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T>;
}

interface Running<T> {
  result: Promise<T>;
  callers: number;
  abort: AbortController;
}

export function openSharedWork<T>(): SharedWork<T> {
  const active = new Map<string, Running<T>>();

  function start(work: (signal: AbortSignal) => Promise<T>): Running<T> {
    const abort = new AbortController();
    return { result: work(abort.signal), callers: 0, abort };
  }

  return {
    async run(key, signal, work) {
      const running = active.get(key) ?? start(work);
      active.set(key, running);
      running.callers += 1;
      try {
        return await unlessAborted(running.result, signal);
      } finally {
        running.callers -= 1;
        if (running.callers === 0) {
          active.delete(key);
          running.abort.abort(signal.reason);
          // No caller awaits the result any more.
          running.result.catch(() => undefined);
        }
      }
    },
  };
}
