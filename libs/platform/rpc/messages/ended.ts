/** The names of the states in which work has ended. */
const endStates = ['SUCCEEDED', 'COMPLETE', 'FAILED', 'CANCELLED'];

/**
 * Whether a run, coverage, training, export or push has ended, so that its state changes only if it is retried or started
 * again. `states` is the enum of its state. A state that this build does not know does not count as ended.
 * @example hasEnded(RunState, run)
 */
export function hasEnded<S extends Readonly<Record<string, number>>>(
  states: S,
  { state }: { state: S[keyof S] },
): boolean {
  return endStates.some((name) => states[name] === state);
}
