import type { Attempt } from './attempt.ts';
import type { Transaction } from './transaction.ts';
import type { Work } from './work.ts';

export type Body<Input, Output> = (input: Input, attempt: Attempt) => Promise<Output>;

export type WorkState = 'QUEUED' | 'RUNNING' | 'SUCCEEDED' | 'FAILED';

/** What a process reports about itself to others. */
export type About = Readonly<Record<string, string>>;

/** A queue, and the processes that pull work from it and have sent a heartbeat within six leases. */
export interface QueueState {
  name: string;
  /** Pieces of work that are waiting. */
  waiting: number;
  running: number;
  workers: { id: string; about: About }[];
}

export interface Durable {
  /**
   * Registers how this process executes a kind of work. Call it before `launch`. The body consists of steps. Code
   * between them runs again in every attempt and must be deterministic.
   */
  execute<Input, Output>(work: Work<Input, Output>, body: Body<Input, Output>): void;
  /**
   * Starts pulling work from queues, `queues[name]` pieces at a time in this process. Call it once, in a process that
   * executes work; a process that only enqueues does not need it. `about` is what `queues` reports about this process;
   * default: nothing.
   */
  launch(queues: Record<string, number>, about?: About): Promise<void>;
  /** Lists every queue of the service that was ever launched or holds work. Throws UNAVAILABLE. */
  queues(): Promise<QueueState[]>;
  /**
   * Enqueues work under an id, unless work with this id exists or has existed. In a transaction of the same database,
   * the work is enqueued only if the transaction is committed. The active trace context is passed along.
   */
  enqueue<Input, Output>(work: Work<Input, Output>, id: string, input: Input, tx?: Transaction): Promise<void>;
  /** Returns the state of the work; undefined if there is none with this id. */
  state(id: string): Promise<WorkState | undefined>;
  /** Waits for work to end and returns its output, or throws the PairwiseError that it failed with. */
  result<Input, Output>(work: Work<Input, Output>, id: string): Promise<Output>;
  /**
   * Requests cancellation: within about a second the signal of the current step aborts, and this step and all later
   * ones throw CANCELLED, except those with `evenIfCancelled`. Does nothing if the work has ended.
   */
  cancel(id: string, tx?: Transaction): Promise<void>;
  /** Deletes the history of ended work; the id may be used again. */
  forget(id: string): Promise<void>;
  /**
   * Whether this process still sends heartbeats, or tries to while Postgres is down. True before `launch`. False means
   * that the process is stuck and should be restarted.
   */
  isAlive(): boolean;
  /**
   * Waits until this process has executed nothing, and nothing has waited in its queues, for `quietMs`. Default: two
   * leases, in which the work of a dead process returns to its queue. While Postgres is down, the process does not
   * count as idle.
   */
  untilIdle(quietMs?: number): Promise<void>;
  /**
   * Stops executing. Running steps are aborted; once they have ended, or after 15 s, their work goes back to the queue,
   * where other processes can take it at once.
   */
  stop(): Promise<void>;
}
