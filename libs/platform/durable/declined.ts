import { PairwiseError } from '@pairwise/errors';

/**
 * Thrown by an activity that this process cannot do, such as one that needs more memory than it has: the work goes to the
 * end of its queue, without counting as an attempt that failed, and waits for another process. This one takes nothing in its
 * place for three leases, so that the others come first; then it continues with the work at the front of the queue.
 */
export class Declined extends PairwiseError {
  constructor(message: string) {
    super('UNAVAILABLE', message);
  }
}

/** How many leases a process waits after it has declined. */
export const declineLeases = 3;

/**
 * Throws `Declined` for work that was planned to take more memory than this process has, both in bytes. `availableBytes` is
 * undefined if it is unknown.
 */
export function declineUnlessFits(plannedBytes: number, availableBytes = Infinity): void {
  if (plannedBytes <= availableBytes) return;
  const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(1)} GB`;
  throw new Declined(
    `it was planned to take ${gigabytes(plannedBytes)}, but this process has ${gigabytes(availableBytes)}`,
  );
}
