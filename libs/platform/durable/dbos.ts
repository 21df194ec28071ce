import type { DBOSConfig } from '@dbos-inc/dbos-sdk';
import { DBOSExecutor } from '@dbos-inc/dbos-sdk/internal/dbos-executor';
import { dbRetryConfig } from '@dbos-inc/dbos-sdk/internal/utils';
import { workflowTimeoutConfig } from '@dbos-inc/dbos-sdk/internal/workflow_management';
import type { Carrier } from './traceContext.ts';
import type { KeptError } from './failures.ts';
import type { Log } from './log.ts';

/** What is kept as the input of a workflow. */
export interface Envelope {
  input: unknown;
  carrier: Carrier;
}

/** What is kept as its output: DBOS would lose the reason of an error. */
export type Result = { value: unknown } | { error: KeptError };

/** All processes run work of all versions: steps are kept compatible instead. */
export const version = '1';
/** How often queues are looked at while there is work, and results. */
export const pollMs = 200;

// After a long absence of Postgres nobody should wait for another minute, which is DBOS's default.
dbRetryConfig.maxBackoffSec = 5;

/** For what DBOS would look for every second and finds never: schedules and deadlines, which we do not use. */
export const neverMs = 24 * 3600 * 1000;
workflowTimeoutConfig.pollingIntervalMs = neverMs;

/** Ends what DBOS does ten times a second in a process that has launched it: it looks for spans of its own to export. */
export function stopCollecting(): void {
  const { tracer } = DBOSExecutor.globalInstance as unknown as {
    tracer: { telemetryCollector: { signalBufferID: NodeJS.Timeout } };
  };
  clearInterval(tracer.telemetryCollector.signalBufferID);
}

/** The schema of the tables of durable execution, next to the service's own. */
export const durableSchemaOf = (schema: string) => `${schema}_durable`;

/** DBOS's chatter is of interest to those who look into DBOS. */
export function quietLogger(log: Log): NonNullable<DBOSConfig['logger']> {
  const say = (entry: unknown) => {
    log.debug({}, `DBOS: ${String(entry)}`);
  };
  return { info: say, debug: say, warn: say, error: say };
}

/**
 * The URL by which DBOS connects: sessions of a process that is frozen in a transaction end after 20 s, and with them
 * their locks. (DBOS's own way to set this makes `pg` print a warning.)
 */
export function withIdleTimeout(url: string): string {
  const changed = new URL(url);
  const options = changed.searchParams.get('options') ?? '';
  changed.searchParams.set('options', `${options} -c idle_in_transaction_session_timeout=20000`.trim());
  return changed.href;
}
