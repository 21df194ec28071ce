/**
 * Thrown by an activity that this process cannot do, such as one that needs more memory than it has: the work goes back into its
 * queue, without counting as an attempt that failed, and waits for another process. This one takes nothing in its place for
 * three leases, so that the others come first.
 */
export class Declined extends Error {}

/** How many leases a process waits after it has declined. */
export const declineLeases = 3;
