import type { Durable, QueueState } from '@pairwise/durable';
import { computeWork } from './work.ts';

/** The live workers that compute logps. */
export async function workersOf(durable: Pick<Durable, 'queues'>): Promise<QueueState['workers']> {
  return (await durable.queues()).find(({ name }) => name === computeWork.queue)?.workers ?? [];
}
