import type { DBOSConfig } from '@dbos-inc/dbos-sdk';
import { DBOSExecutor } from '@dbos-inc/dbos-sdk/internal/dbos-executor';
import { dbRetryConfig } from '@dbos-inc/dbos-sdk/internal/utils';
import { workflowTimeoutConfig } from '@dbos-inc/dbos-sdk/internal/workflow_management';
import type { Carrier } from './traceContext.ts';
import type { KeptError } from './failures.ts';
import type { DurableLog } from './log.ts';

/** The stored input of a workflow. */
export interface Envelope {
  input: unknown;
  carrier: Carrier;
}

/** The stored output of a workflow. It contains errors too, because DBOS would lose their reason. */
export type Result = { value: unknown } | { error: KeptError };

/** Every process runs work of every version, so steps must stay compatible. */
export const version = '1';
/** How often queues are polled while there is work, and how often results are. */
export const pollMs = 200;

// After a long outage of Postgres, nobody should have to wait another minute, DBOS's default.
dbRetryConfig.maxBackoffSec = 5;

/**
 * The interval for things that DBOS would poll every second without ever finding any: schedules and deadlines, which we
 * do not use.
 */
export const neverMs = 24 * 3600 * 1000;
workflowTimeoutConfig.pollingIntervalMs = neverMs;

/**
 * Stops a timer of DBOS that would look for spans to export ten times a second in every process that has launched it.
 */
export function stopCollecting(): void {
  const { tracer } = DBOSExecutor.globalInstance as unknown as {
    tracer: { telemetryCollector: { signalBufferID: NodeJS.Timeout } };
  };
  clearInterval(tracer.telemetryCollector.signalBufferID);
}

/** The schema that holds the tables of durable execution, next to the service's own. */
export const durableSchemaOf = (schema: string) => `${schema}_durable`;

/** Passes DBOS's messages to our log at level debug, since only those who debug DBOS need them. */
export function quietLogger(log: DurableLog): NonNullable<DBOSConfig['logger']> {
  const debug = (entry: unknown) => {
    log.debug({}, `DBOS: ${String(entry)}`);
  };
  return { info: debug, debug, warn: debug, error: debug };
}

/**
 * The URL that DBOS connects with. If a process freezes in a transaction, its session and its locks end after 20 s.
 * (DBOS's own option for this makes `pg` print a warning.)
 */
export function withIdleTimeout(url: string): string {
  const changed = new URL(url);
  const options = changed.searchParams.get('options') ?? '';
  changed.searchParams.set('options', `${options} -c idle_in_transaction_session_timeout=20000`.trim());
  return changed.href;
}
