import { PairwiseError } from '@pairwise/errors';

/** The uploads that are running now, at most one per import. */
export interface ActiveUploads {
  /**
   * Runs an upload once the previous one of the same import has ended. The previous one is aborted with WRONG_STATE: its
   * connection may have broken without notice.
   */
  run<T>(uid: string, upload: (signal: AbortSignal) => Promise<T>): Promise<T>;
}

export function openActiveUploads(): ActiveUploads {
  const active = new Map<string, { abort: AbortController; ended: Promise<unknown> }>();
  return {
    async run(uid, upload) {
      const abort = new AbortController();
      const previous = active.get(uid);
      previous?.abort.abort(new PairwiseError('WRONG_STATE', 'a newer upload of the same import took over'));
      const result = (previous?.ended ?? Promise.resolve()).then(() => upload(abort.signal));
      const mine = { abort, ended: result.catch(() => undefined) };
      active.set(uid, mine);
      try {
        return await result;
      } finally {
        if (active.get(uid) === mine) active.delete(uid);
      }
    },
  };
}
