import { DBOSClient } from '@dbos-inc/dbos-sdk';
import { asPairwiseError } from '@pairwise/database';
import type pg from 'pg';
import { type Envelope, type Result, durableSchemaOf, pollMs, quietLogger, version, withIdleTimeout } from './dbos.ts';
import { addCancellation, removeCancellation } from './dbosTables.ts';
import type { Durable, WorkState } from './durable.ts';
import { revive } from './failures.ts';
import type { DurableLog } from './log.ts';
import { sending } from './traceContext.ts';
import { asClient } from './transaction.ts';

const states: Record<string, WorkState> = {
  ENQUEUED: 'QUEUED',
  DELAYED: 'QUEUED',
  PENDING: 'RUNNING',
  SUCCESS: 'SUCCEEDED',
  ERROR: 'FAILED',
  CANCELLED: 'FAILED',
  MAX_RECOVERY_ATTEMPTS_EXCEEDED: 'FAILED',
};

/** Rethrows the error of a query: UNAVAILABLE if Postgres is down, DISK_FULL if its disk is full. */
function rethrow(error: unknown): never {
  throw asPairwiseError(error);
}

type Queue = Pick<Durable, 'enqueue' | 'state' | 'result' | 'cancel' | 'forget'> & {
  /** Executions of a piece of work since it last made progress. */
  tries(id: string): Promise<number>;
  close(): Promise<void>;
};

/** The part of durable execution that enqueues work and keeps track of it. It executes nothing. */
export async function openQueue(url: string, schema: string, pool: pg.Pool, log: DurableLog): Promise<Queue> {
  const durableSchema = durableSchemaOf(schema);
  const client = await DBOSClient.create({
    systemDatabaseUrl: withIdleTimeout(url),
    systemDatabaseSchemaName: durableSchema,
    applicationName: schema,
    systemDatabasePoolSize: 4,
    logger: quietLogger(log),
  });
  const statusOf = (id: string) => client.retrieveWorkflow(id).getStatus();

  return {
    enqueue: ({ name, queue }, id, input, tx) =>
      sending(queue, id, (carrier) => {
        const options = { workflowName: name, queueName: queue, workflowID: id, appVersion: version };
        const envelope: Envelope = { input, carrier };
        return tx === undefined
          ? client.enqueue(options, envelope)
          : client.enqueueInTransaction(asClient(tx), options, envelope);
      }),
    state: async (id) => {
      const status = await statusOf(id);
      if (status === null) return undefined;
      const failed = status.status === 'SUCCESS' && 'error' in (status.output as Result);
      return failed ? 'FAILED' : states[status.status];
    },
    result: async (work, id) => {
      const result = await client.retrieveWorkflow<Result>(id).getResult({ pollingIntervalMs: pollMs });
      if ('error' in result) throw revive(result.error);
      return result.value as ReturnType<NonNullable<typeof work.types>>;
    },
    cancel: async (id, tx) => {
      if (tx === undefined) await addCancellation(pool, durableSchema, id).catch(rethrow);
      else await addCancellation(asClient(tx), durableSchema, id);
    },
    forget: async (id) => {
      await client.deleteWorkflow(id);
      await removeCancellation(pool, durableSchema, id).catch(rethrow);
    },
    tries: async (id) => (await statusOf(id))?.recoveryAttempts ?? 1,
    close: () => client.destroy(),
  };
}
