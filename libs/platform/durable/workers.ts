import type { Durable, QueueState } from './durable.ts';
import type { Work } from './work.ts';

/** The live processes that pull a kind of work. */
export async function workersOf<Input, Output>(
  durable: Pick<Durable, 'queues'>,
  { queue }: Work<Input, Output>,
): Promise<QueueState['workers']> {
  return (await durable.queues()).find(({ name }) => name === queue)?.workers ?? [];
}

/**
 * The least memory of any worker, in bytes, since each may get the work. Workers report it as `memoryBytes` about themselves.
 * Undefined if none reports any.
 */
export function leastMemoryBytes(workers: QueueState['workers']): number | undefined {
  const reported = reportedBytes(workers);
  return reported.length === 0 ? undefined : Math.min(...reported);
}

/** The most memory of any worker, in bytes; 0 if none reports any. */
export function mostMemoryBytes(workers: QueueState['workers']): number {
  return Math.max(0, ...reportedBytes(workers));
}

function reportedBytes(workers: QueueState['workers']): number[] {
  return workers.map(({ about }) => Number(about['memoryBytes'] ?? 0)).filter((bytes) => bytes > 0);
}
