/** Wakes whoever waits for it. If nobody is waiting, the next wait returns at once. */
export interface Bell {
  ring(): void;
  /** Waits for a ring, but at most `ms` milliseconds or until the signal aborts. */
  wait(ms: number, signal: AbortSignal): Promise<void>;
}

export function openBell(): Bell {
  let rung = false;
  let wake: () => void = () => undefined;
  return {
    ring: () => {
      rung = true;
      wake();
    },
    wait: async (ms, signal) => {
      if (!rung && !signal.aborted) {
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, ms);
          wake = () => {
            clearTimeout(timer);
            signal.removeEventListener('abort', wake);
            resolve();
          };
          signal.addEventListener('abort', wake);
        });
        wake();
        wake = () => undefined;
      }
      rung = false;
    },
  };
}
