import { type Attributes, metrics } from '@opentelemetry/api';
import { asPairwiseError } from '@pairwise/database';
import type pg from 'pg';
import { durableSchemaOf } from './dbos.ts';
import type { QueueState } from './durable.ts';

// The registry of libs/platform/telemetry describes these metrics.
const meter = () => metrics.getMeter('pairwise.durable');

const serviceAttribute = 'pairwise.service';

/** Counts processes that were found dead. */
export function countExpiries(service: string, count: number): void {
  meter()
    .createCounter('pairwise.lease.expiries', { unit: '{lease}' })
    .add(count, { [serviceAttribute]: service });
}

interface QueueRow {
  queue: string;
  waiting: number;
  running: number;
  age: number;
}

/** Every queue that a process has registered or that holds work, also if it is empty. Times are Postgres's. */
const queuesOf = (schema: string) => `
  with live as (
    select queue_name as queue, status <> 'PENDING' as waits, updated_at
    from "${schema}".workflow_status
    where status in ('ENQUEUED', 'DELAYED', 'PENDING') and queue_name is not null
  )
  select queue,
         count(*) filter (where waits)::int as waiting,
         count(*) filter (where not waits)::int as running,
         coalesce(extract(epoch from now()) - min(updated_at) filter (where waits) / 1000.0, 0)::float8 as age
  from (select name as queue from "${schema}".queues union select queue from live) as known left join live using (queue)
  where queue not like '\\_dbos%'
  group by queue`;

/**
 * Has depth of a service's queues, and age of what has waited longest in them, read whenever metrics are exported.
 * Returns what ends this; before the pool is closed.
 */
export function observeQueues(service: string, pool: pg.Pool): () => void {
  const owner = meter();
  const depth = owner.createObservableGauge('pairwise.queue.depth', { unit: '{item}' });
  const oldest = owner.createObservableGauge('pairwise.queue.oldest.age', { unit: 's' });
  const read: Parameters<typeof owner.addBatchObservableCallback>[0] = async (result) => {
    const { rows } = await pool.query<QueueRow>(queuesOf(durableSchemaOf(service)));
    for (const { queue, waiting, running, age } of rows) {
      const attributes: Attributes = { [serviceAttribute]: service, 'messaging.destination.name': queue };
      result.observe(depth, waiting, { ...attributes, 'pairwise.work.state': 'waiting' });
      result.observe(depth, running, { ...attributes, 'pairwise.work.state': 'running' });
      result.observe(oldest, Math.max(0, age), attributes);
    }
  };
  owner.addBatchObservableCallback(read, [depth, oldest]);
  return () => owner.removeBatchObservableCallback(read, [depth, oldest]);
}

/** The processes that have shown life within $1 milliseconds, by queue. */
const workersOf = (schema: string) => `
  select unnest(queues) as queue, id, about from "${schema}".executors
  where beat_time > now() - $1 * interval '1 ms' order by id`;

/** Every queue of a service, with the processes that sent a heartbeat within `lifeMs` milliseconds. Throws UNAVAILABLE. */
export async function readQueues(service: string, pool: pg.Pool, lifeMs: number): Promise<QueueState[]> {
  const schema = durableSchemaOf(service);
  try {
    const { rows } = await pool.query<QueueRow>(queuesOf(schema));
    type Worker = QueueState['workers'][number] & { queue: string };
    const { rows: workers } = await pool.query<Worker>(workersOf(schema), [lifeMs]);
    return rows.map(({ queue: name, waiting, running }) => {
      const own = workers.filter(({ queue }) => queue === name).map(({ id, about }) => ({ id, about }));
      return { name, waiting, running, workers: own };
    });
  } catch (error) {
    throw asPairwiseError(error);
  }
}
