import { type Attributes, metrics } from '@opentelemetry/api';
import { asPairwiseError } from '@pairwise/database';
import type pg from 'pg';
import { durableSchemaOf } from './dbos.ts';
import { queueDepths, workersOf } from './dbosTables.ts';
import type { QueueState } from './durable.ts';

// The registry of libs/platform/telemetry describes these metrics.
const meter = () => metrics.getMeter('pairwise.durable');

const serviceAttribute = 'pairwise.service';

/** Counts processes that turned out to be dead. */
export function countExpiries(service: string, count: number): void {
  meter()
    .createCounter('pairwise.lease.expiries', { unit: '{lease}' })
    .add(count, { [serviceAttribute]: service });
}

/**
 * Reports the depth of a service's queues, and the age of the oldest piece of work in each, with every export of
 * metrics. Returns a function that ends this; call it before closing the pool.
 */
export function observeQueues(service: string, pool: pg.Pool): () => void {
  const owner = meter();
  const depth = owner.createObservableGauge('pairwise.queue.depth', { unit: '{item}' });
  const oldest = owner.createObservableGauge('pairwise.queue.oldest.age', { unit: 's' });
  const read: Parameters<typeof owner.addBatchObservableCallback>[0] = async (result) => {
    for (const { queue, waiting, running, age } of await queueDepths(pool, durableSchemaOf(service))) {
      const attributes: Attributes = { [serviceAttribute]: service, 'messaging.destination.name': queue };
      result.observe(depth, waiting, { ...attributes, 'pairwise.work.state': 'waiting' });
      result.observe(depth, running, { ...attributes, 'pairwise.work.state': 'running' });
      result.observe(oldest, Math.max(0, age), attributes);
    }
  };
  owner.addBatchObservableCallback(read, [depth, oldest]);
  return () => owner.removeBatchObservableCallback(read, [depth, oldest]);
}

/**
 * Lists every queue of a service, with the processes that sent a heartbeat within `silenceMs` milliseconds. Throws
 * UNAVAILABLE.
 */
export async function readQueues(service: string, pool: pg.Pool, silenceMs: number): Promise<QueueState[]> {
  const schema = durableSchemaOf(service);
  try {
    const queues = await queueDepths(pool, schema);
    const workers = await workersOf(pool, schema, silenceMs);
    return queues.map(({ queue: name, waiting, running }) => {
      const own = workers.filter(({ queue }) => queue === name).map(({ id, about }) => ({ id, about }));
      return { name, waiting, running, workers: own };
    });
  } catch (error) {
    throw asPairwiseError(error);
  }
}
