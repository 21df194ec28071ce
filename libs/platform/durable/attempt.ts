import { setTimeout as sleep } from 'node:timers/promises';
import { DBOS } from '@dbos-inc/dbos-sdk';
import { type Context, SpanStatusCode, context as contexts, trace } from '@opentelemetry/api';
import { isConnectionLoss } from '@pairwise/database';
import { PairwiseError } from '@pairwise/errors';
import type pg from 'pg';
import { claimsOf, decline, lockClaim, resetAttempts } from './dbosTables.ts';
import { Declined, declineLeases } from './declined.ts';
import { type KeptError, keep, revive } from './failures.ts';
import type { DurableLog } from './log.ts';
import { type Transaction, asClient } from './transaction.ts';

export interface ActivityOptions {
  /**
   * For cleaning up: the activity runs even if the work was cancelled or given up. It also waits while the disk is full,
   * since nobody else would clean up. Default false.
   */
  evenIfCancelled?: boolean;
}

/** One execution of a piece of work. After a crash there is another one, which skips the activities that are finished. */
export interface Attempt {
  /** The id that the work was enqueued under. */
  readonly id: string;
  /**
   * Runs `work` once and stores its result (JSON); later attempts get the result without running it. If the process
   * dies in the middle, the activity runs again, so it must be idempotent. It should take 5 to 60 seconds. Every attempt
   * must run the same activities in the same order.
   *
   * `signal` aborts when the work is cancelled, when another process takes it over, or when this process stops. In the
   * last case `work` has a few seconds to save what it has before another process takes over. Errors are stored like
   * results and thrown again by later attempts, except UNAVAILABLE: the activity is then retried after 0.25 to 10 seconds
   * until it succeeds or the work is cancelled, and `Declined`: then the attempt ends, and another process gets the work.
   * Throws CANCELLED if the work was cancelled.
   */
  activity: <T>(name: string, work: (signal: AbortSignal) => Promise<T>, options?: ActivityOptions) => Promise<T>;
  /**
   * For use in a transaction on the same database. Throws STALE_ATTEMPT unless this attempt still owns the work, and
   * prevents a takeover until the transaction ends. Every write apart from the activity's result must be fenced.
   */
  fence: (tx: Transaction) => Promise<void>;
}

/** An execution in this process, as seen from outside of it. */
export interface Running {
  id: string;
  /** Token of the claim under which this process executes the work. */
  owner: string;
  /** Aborted when the work is cancelled or taken over. */
  abort: AbortController;
}

export interface AttemptOptions extends Running {
  schema: string;
  pool: pg.Pool;
  leaseMs: number;
  /** Executions since an activity was last finished, including this one. */
  tries: number;
  /** Whether this execution has finished an activity. */
  progressed: boolean;
  /** After this many attempts, all of which ended with the death of the process, activities fail. */
  maxAttempts: number;
  workName: string;
  /** Trace context of the work. */
  context: Context;
  /** Aborted when the process stops. */
  stopping: AbortSignal;
  /** Steps that are running in this process. */
  busy: Set<Promise<unknown>>;
  log: DurableLog;
}

type Outcome = { value: unknown } | { error: KeptError };

const firstPauseMs = 250;
const longestPauseMs = 10_000;

const never = new Promise<never>(() => undefined);

/** Repeats a query once a second until Postgres has executed it or the process stops. */
export async function untilDone(
  query: () => Promise<unknown>,
  { stopping, log }: Pick<AttemptOptions, 'stopping' | 'log'>,
): Promise<void> {
  while (!stopping.aborted) {
    try {
      await query();
      return;
    } catch (error) {
      log.warn({ err: error }, 'work could not be put back into its queue; trying again');
      await sleep(1000, undefined, { signal: stopping }).catch(() => undefined);
    }
  }
}

/** Restarts the count of tries if the work has progressed since. */
async function countTries(options: AttemptOptions): Promise<void> {
  if (options.tries === 1 || !options.progressed) return;
  const { id, owner, schema, pool } = options;
  await resetAttempts(pool, schema, id, owner);
  options.tries = 1;
}

/** Throws if the activity must not begin. */
async function admit(
  options: AttemptOptions,
  name: string,
  { evenIfCancelled = false }: ActivityOptions,
): Promise<void> {
  options.stopping.throwIfAborted();
  await countTries(options);
  const { id, owner, schema, pool, tries, maxAttempts } = options;
  const [claim] = await claimsOf(pool, schema, [id]);
  if (claim?.owner !== owner) throw stale(id);
  if (evenIfCancelled) return;
  if (tries > maxAttempts) {
    const message = `given up after ${maxAttempts} attempts: each time the process died during or before ${name}`;
    throw new PairwiseError('INTERNAL', message);
  }
  if (claim.cancelled) throw cancelled();
}

export const stale = (id: string) =>
  new PairwiseError('STALE_ATTEMPT', `${id} was given to another process; this one must not write any more`);
export const cancelled = () => new PairwiseError('CANCELLED', 'the work was cancelled');

/** Whether an error is temporary: a peer or the database is down, or, for activities that clean up, the disk is full. */
function isTemporary(error: unknown, { evenIfCancelled = false }: ActivityOptions): boolean {
  if (!(error instanceof PairwiseError)) return isConnectionLoss(error);
  return error.reason === 'UNAVAILABLE' || (evenIfCancelled && error.reason === 'DISK_FULL');
}

/**
 * Runs an activity until it has an outcome. Never returns if nothing may be stored because another process continues the
 * work.
 */
async function settle<T>(
  options: AttemptOptions,
  name: string,
  run: (signal: AbortSignal) => Promise<T>,
  activityOptions: ActivityOptions,
): Promise<Outcome> {
  const { abort, stopping, busy, log, id } = options;
  const signal = activityOptions.evenIfCancelled === true ? stopping : AbortSignal.any([abort.signal, stopping]);
  for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(2 * pauseMs, longestPauseMs)) {
    try {
      await admit(options, name, activityOptions);
      const work = run(signal);
      busy.add(work);
      return { value: await work.finally(() => busy.delete(work)) };
    } catch (thrown) {
      if (stopping.aborted) return await never;
      // After the signal has aborted, whatever an activity throws is only a consequence.
      const error: unknown = signal.aborted ? signal.reason : thrown;
      if (error instanceof Declined) return await giveUp(options, error);
      if (!isTemporary(error, activityOptions)) {
        if (!(error instanceof PairwiseError))
          log.error({ err: error, workflow: id }, `the activity ${name} failed because of a bug`);
        return { error: keep(error) };
      }
      log.warn({ err: error, workflow: id }, `retrying the activity ${name} in ${pauseMs} ms`);
      await sleep(pauseMs, undefined, { signal }).catch(() => undefined);
    }
  }
}

/** Lets other processes have the work. The outcome cannot be stored, since the work has no owner any more. */
async function giveUp(options: AttemptOptions, { message }: Declined): Promise<Outcome> {
  const { pool, schema, id, owner, leaseMs, stopping, log } = options;
  log.warn({ workflow: id }, `${id} is left to another process: ${message}`);
  await untilDone(() => decline(pool, schema, id, owner), options);
  await sleep(declineLeases * leaseMs, undefined, { signal: stopping }).catch(() => undefined);
  return { error: keep(stale(id)) };
}

/** Runs the activity in a span of its own, a child of the work's span. */
async function traced<T>(options: AttemptOptions, name: string, run: () => Promise<T>): Promise<T> {
  const { workName, context, id, tries } = options;
  const attributes = { 'pairwise.work.id': id, 'pairwise.work.tries': tries };
  const span = trace.getTracer('pairwise.durable').startSpan(`${workName} ${name}`, { attributes }, context);
  try {
    return await contexts.with(trace.setSpan(context, span), run);
  } catch (error) {
    span.setAttribute('error.type', error instanceof PairwiseError ? error.reason : 'INTERNAL');
    span.setStatus({ code: SpanStatusCode.ERROR });
    throw error;
  } finally {
    span.end();
  }
}

/**
 * Explains why DBOS could not store the outcome of an activity: another process has the work now, or Postgres refused the
 * row.
 */
class NotKept extends Error {}

/** Whether an attempt must end without a result because its last activity was not stored and has to run again. */
export const isNotKept = (error: unknown): boolean => error instanceof PairwiseError && error.cause instanceof NotKept;

/** Returns the attempt that the body of the work receives. */
export function attemptOf(given: Omit<AttemptOptions, 'progressed'>): Attempt {
  const options: AttemptOptions = { ...given, progressed: false };
  const { id, owner, schema } = options;
  let lost: PairwiseError | undefined;
  return {
    id,
    activity: async <T>(
      name: string,
      run: (signal: AbortSignal) => Promise<T>,
      activityOptions: ActivityOptions = {},
    ) => {
      if (lost !== undefined) throw lost;
      let ran = false;
      const settled = () => {
        ran = true;
        return settle(options, name, (signal) => traced(options, name, () => run(signal)), activityOptions);
      };
      const outcome = await DBOS.runStep(settled, { name }).catch((cause: unknown) => {
        // The body may catch this, but no further activity runs, not even to clean up.
        lost = new PairwiseError('STALE_ATTEMPT', `the outcome of ${name} could not be stored`, {
          cause: new NotKept(String(cause), { cause }),
        });
        throw lost;
      });
      options.progressed ||= ran;
      if ('error' in outcome) throw revive(outcome.error);
      return outcome.value as T;
    },
    fence: async (tx) => {
      if (!(await lockClaim(asClient(tx), schema, id, owner))) throw stale(id);
    },
  };
}
