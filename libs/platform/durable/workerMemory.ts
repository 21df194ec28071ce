import type { QueueState } from './durable.ts';

/**
 * The least memory of any worker, in bytes, since each may get the work. Workers report it as `memoryBytes` about themselves.
 * Undefined if none reports any.
 */
export function leastMemoryBytes(workers: QueueState['workers']): number | undefined {
  const reported = workers.map(({ about }) => Number(about['memoryBytes'] ?? 0)).filter((bytes) => bytes > 0);
  return reported.length === 0 ? undefined : Math.min(...reported);
}
