import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { openPool } from '@pairwise/database';
import { frozenLeases } from './dbosTables.ts';
import type { Body, Durable } from './durable.ts';
import { openExecution } from './execution.ts';
import { observeQueues, readQueues } from './measures.ts';
import { type DurableDatabase, migrateDurable } from './migrate.ts';
import { openQueue } from './queue.ts';
import type { Work } from './work.ts';

export interface DurableOptions extends DurableDatabase {
  /** How long a process may be silent before its work is given to others, in milliseconds. Default 5000. */
  leaseMs?: number;
}

/**
 * Opens durable execution (DBOS) for a service. Creates its tables; work can be enqueued at once. All processes of a
 * service share the database. A process that dies loses only its current activity, which another process, or the same one
 * after a restart, runs again after `leaseMs`.
 */
export async function startDurable({ url, schema, log, leaseMs = 5000 }: DurableOptions): Promise<Durable> {
  await migrateDurable({ url, schema, log });
  const pool = openPool({ connectionString: url, max: 4 });
  const queue = await openQueue(url, schema, pool, log);
  const id = `${hostname()}-${process.pid}-${randomUUID()}`;
  const execution = openExecution({ url, schema, id, leaseMs, pool, log, tries: (workId) => queue.tries(workId) });
  const { enqueue, state, result, cancel, forget } = queue;
  const unobserve = observeQueues(schema, pool);

  return {
    execute: (work, body) => execution.execute(work as Work<unknown, unknown>, body as Body<unknown, unknown>),
    launch: (queues, about) => execution.launch(queues, about),
    queues: () => readQueues(schema, pool, frozenLeases * leaseMs),
    enqueue,
    state,
    result,
    cancel,
    forget,
    isAlive: () => execution.isAlive(),
    untilIdle: (quietMs) => execution.untilIdle(quietMs),
    stop: async () => {
      unobserve();
      await execution.stop();
      await queue.close();
      await pool.end();
    },
  };
}
