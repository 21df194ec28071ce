/** The most memory that this process has had, mapped pages included. */
export interface Peak {
  /** Since the last reset, in bytes. */
  bytes(): number;
  reset(): void;
  stop(): void;
}

const sampleMs = 100;

/** Looks at the memory of this process ten times a second. */
export function measurePeak(): Peak {
  let peak = 0;
  const look = () => {
    peak = Math.max(peak, process.memoryUsage.rss());
  };
  const sampling = setInterval(look, sampleMs);
  sampling.unref();
  return {
    bytes: () => {
      look();
      return peak;
    },
    reset: () => (peak = 0),
    stop: () => clearInterval(sampling),
  };
}
