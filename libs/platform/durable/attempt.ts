import { setTimeout as sleep } from 'node:timers/promises';
import { DBOS } from '@dbos-inc/dbos-sdk';
import { type Context, SpanStatusCode, context as contexts, trace } from '@opentelemetry/api';
import { isConnectionLoss } from '@pairwise/database';
import { PairwiseError } from '@pairwise/errors';
import type pg from 'pg';
import { claimsOf, lockClaim, resetAttempts } from './dbosTables.ts';
import { type KeptError, keep, revive } from './failures.ts';
import type { Log } from './log.ts';
import { type Transaction, asClient } from './transaction.ts';

export interface StepOptions {
  /**
   * For steps that tidy up: they run although the work was cancelled or given up, and wait out a full disk as well, since
   * nobody comes after them. Default false.
   */
  evenIfCancelled?: boolean;
}

/** One execution of a piece of work; after a crash there is another one, which skips the steps that were finished. */
export interface Attempt {
  /** The id under which the work was enqueued. */
  readonly id: string;
  /**
   * Runs `work` once and keeps its result (JSON): an attempt that comes later gets the result without running it.
   * A process that dies in the middle runs it again, so it must be idempotent; 5 to 60 seconds long is good.
   * Steps must come in the same order in every attempt.
   *
   * `signal` aborts when the work is cancelled, when it was given to another process, or when this one stops. In the
   * last case `work` has some seconds to save what it has: only then is the work given to another process.
   * An error is kept like a result and thrown again by later attempts, save UNAVAILABLE: the step is then tried again,
   * after 0.25 to 10 seconds, until it is through or the work is cancelled. Throws CANCELLED where the work was cancelled.
   */
  step: <T>(name: string, work: (signal: AbortSignal) => Promise<T>, options?: StepOptions) => Promise<T>;
  /**
   * Inside a transaction of the same database: throws STALE_ATTEMPT unless this attempt still owns the work, and keeps
   * it from changing hands until the transaction ends. Every write outside of the step's result goes behind it.
   */
  fence: (tx: Transaction) => Promise<void>;
}

/** An execution in this process, as its keeper sees it. */
export interface Running {
  id: string;
  /** Token of the claim by which this process executes it. */
  owner: string;
  /** Aborted when the work is cancelled or changes hands. */
  abort: AbortController;
}

export interface AttemptOptions extends Running {
  schema: string;
  pool: pg.Pool;
  /** Executions, this one included, since a step was finished last. */
  tries: number;
  /** Whether a step was finished in this execution. */
  progressed: boolean;
  /** After this many attempts activities fail, since the process died each time. */
  maxAttempts: number;
  workName: string;
  /** Trace context of the work. */
  context: Context;
  /** Aborted when the process stops. */
  stopping: AbortSignal;
  /** What steps of this process are at. */
  busy: Set<Promise<unknown>>;
  log: Log;
}

type Outcome = { value: unknown } | { error: KeptError };

const firstPauseMs = 250;
const longestPauseMs = 10_000;

const never = new Promise<never>(() => undefined);

/** Starts counting tries again if the work has progressed since. */
async function countTries(options: AttemptOptions): Promise<void> {
  if (options.tries === 1 || !options.progressed) return;
  const { id, owner, schema, pool } = options;
  await resetAttempts(pool, schema, id, owner);
  options.tries = 1;
}

/** Throws what keeps a step from beginning. */
async function admit(options: AttemptOptions, name: string, { evenIfCancelled = false }: StepOptions): Promise<void> {
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
  new PairwiseError('STALE_ATTEMPT', `${id} was given to another process; this one has nothing to write any more`);
export const cancelled = () => new PairwiseError('CANCELLED', 'the work was cancelled');

/** Whether an error passes by itself: a peer or the database is away, or, for what tidies up, the disk is full. */
function passes(error: unknown, { evenIfCancelled = false }: StepOptions): boolean {
  if (!(error instanceof PairwiseError)) return isConnectionLoss(error);
  return error.reason === 'UNAVAILABLE' || (evenIfCancelled && error.reason === 'DISK_FULL');
}

/** Runs a step until its outcome is settled. Never returns if nothing may be kept, since another process continues the work. */
async function settle<T>(
  options: AttemptOptions,
  name: string,
  run: (signal: AbortSignal) => Promise<T>,
  stepOptions: StepOptions,
): Promise<Outcome> {
  const { abort, stopping, busy, log, id } = options;
  const signal = stepOptions.evenIfCancelled === true ? stopping : AbortSignal.any([abort.signal, stopping]);
  for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(2 * pauseMs, longestPauseMs)) {
    try {
      await admit(options, name, stepOptions);
      const work = run(signal);
      busy.add(work);
      return { value: await work.finally(() => busy.delete(work)) };
    } catch (thrown) {
      if (stopping.aborted) return await never;
      // What a step throws after its signal was aborted is but a consequence.
      const error: unknown = signal.aborted ? signal.reason : thrown;
      if (!passes(error, stepOptions)) {
        if (!(error instanceof PairwiseError))
          log.error({ err: error, workflow: id }, `the step ${name} failed by a defect`);
        return { error: keep(error) };
      }
      log.warn({ err: error, workflow: id }, `the step ${name} is tried again in ${pauseMs} ms`);
      await sleep(pauseMs, undefined, { signal }).catch(() => undefined);
    }
  }
}

/** Runs the step as a span of its own, child of the work's. */
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

/** Why DBOS could not keep the outcome of a step: another process has the work now, or Postgres refused the row. */
class NotKept extends Error {}

/** Whether an attempt must end without a result: what it did last is not kept, so it has to be done again. */
export const isNotKept = (error: unknown): boolean => error instanceof PairwiseError && error.cause instanceof NotKept;

/** The attempt that a piece of work is executed with. */
export function attemptOf(given: Omit<AttemptOptions, 'progressed'>): Attempt {
  const options: AttemptOptions = { ...given, progressed: false };
  const { id, owner, schema } = options;
  let lost: PairwiseError | undefined;
  return {
    id,
    step: async <T>(name: string, run: (signal: AbortSignal) => Promise<T>, stepOptions: StepOptions = {}) => {
      if (lost !== undefined) throw lost;
      let ran = false;
      const settled = () => {
        ran = true;
        return settle(options, name, (signal) => traced(options, name, () => run(signal)), stepOptions);
      };
      const outcome = await DBOS.runStep(settled, { name }).catch((cause: unknown) => {
        // The body may catch this, but no further step runs: there is nothing to tidy up here.
        lost = new PairwiseError('STALE_ATTEMPT', `the outcome of ${name} could not be kept`, {
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
