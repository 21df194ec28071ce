import type { Durable } from '@pairwise/durable';
import { computeWork } from './work.ts';

/** The memory of each live worker, in bytes; 0 where it is unknown. */
export async function memoryOfWorkers(durable: Pick<Durable, 'queues'>): Promise<number[]> {
  const queue = (await durable.queues()).find(({ name }) => name === computeWork.queue);
  return (queue?.workers ?? []).map(({ about }) => Number(about['memoryBytes'] ?? 0));
}
