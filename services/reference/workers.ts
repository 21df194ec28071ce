import type { Durable } from '@pairwise/durable';
import { computeWork } from './work.ts';

/** The memory of each live worker, in bytes; 0 where it is unknown. */
export async function memoryOfWorkers(durable: Pick<Durable, 'queues'>): Promise<number[]> {
  const queue = (await durable.queues()).find(({ name }) => name === computeWork.queue);
  return (queue?.workers ?? []).map(({ about }) => Number(about['memoryBytes'] ?? 0));
}

/** The least memory of any worker: each may get the work. Undefined if none reports any. */
export function leastOf(workers: readonly number[]): number | undefined {
  const known = workers.filter((bytes) => bytes > 0);
  return known.length === 0 ? undefined : Math.min(...known);
}
