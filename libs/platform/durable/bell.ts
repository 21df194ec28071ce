/** Wakes one who waits; a ring that nobody waits for is kept for the next. */
export interface Bell {
  ring(): void;
  /** Waits for a ring, for as many milliseconds at most, or until the signal aborts. */
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
        await new Promise<void>((tell) => {
          const timer = setTimeout(tell, ms);
          wake = () => {
            clearTimeout(timer);
            signal.removeEventListener('abort', wake);
            tell();
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
