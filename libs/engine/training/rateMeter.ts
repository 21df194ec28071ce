/** Measures the rate of a session, in multiply-adds per second, from the work that it does. */
export interface RateMeter {
  /** Adds a piece of work. The first one is left out: it pays for paging the weights in. */
  add(operations: number, seconds: number): void;
  /**
   * The rate of the work since the last call. Undefined if that took less than a second: such short work says more about what
   * surrounds it than about the device.
   */
  take(): number | undefined;
}

const leastSeconds = 1;

/** A meter for a session that is newly opened. */
export function rateMeter(): RateMeter {
  let isFirst = true;
  let total = { operations: 0, seconds: 0 };
  return {
    add: (operations, seconds) => {
      if (!isFirst) total = { operations: total.operations + operations, seconds: total.seconds + seconds };
      isFirst = false;
    },
    take: () => {
      const { operations, seconds } = total;
      total = { operations: 0, seconds: 0 };
      return seconds < leastSeconds ? undefined : operations / seconds;
    },
  };
}
