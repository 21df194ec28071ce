import type { Attempt } from './attempt.ts';
import type { Transaction } from './transaction.ts';
import type { Work } from './work.ts';

export type Body<Input, Output> = (input: Input, attempt: Attempt) => Promise<Output>;

export type WorkState = 'QUEUED' | 'RUNNING' | 'SUCCEEDED' | 'FAILED';

/** What a process tells others of itself. */
export type About = Readonly<Record<string, string>>;

/** A queue, and the processes that take work from it and have shown life within six leases. */
export interface QueueState {
  name: string;
  /** Pieces of work. */
  waiting: number;
  running: number;
  workers: { id: string; about: About }[];
}

export interface Durable {
  /**
   * Says how work of a kind is executed by this process; before `launch`. The body is made of steps: what happens
   * between them happens again in every attempt and must be deterministic.
   */
  execute<Input, Output>(work: Work<Input, Output>, body: Body<Input, Output>): void;
  /**
   * Begins to pull work from queues, `queues[name]` pieces at a time in this process. Needed only where work is
   * executed, and only once in a process. A process that only enqueues leaves it out. `about` is what `queues` reports about
   * it; default: nothing.
   */
  launch(queues: Record<string, number>, about?: About): Promise<void>;
  /** Every queue of the service that was ever launched or holds work. Throws UNAVAILABLE. */
  queues(): Promise<QueueState[]>;
  /**
   * Enqueues work under an id, unless there is, or was, work of this id. Inside a transaction of the same database it
   * takes place only if that is committed. The active trace context goes along.
   */
  enqueue<Input, Output>(work: Work<Input, Output>, id: string, input: Input, tx?: Transaction): Promise<void>;
  /** How far work is; undefined where there is none of this id. */
  state(id: string): Promise<WorkState | undefined>;
  /** Waits for the end of work and returns its output, or throws the PairwiseError by which it failed. */
  result<Input, Output>(work: Work<Input, Output>, id: string): Promise<Output>;
  /**
   * Asks for work to be cancelled: within about a second the signal of its step is aborted, and this and all further
   * steps throw CANCELLED, save those that run even then. Nothing happens to work that has ended.
   */
  cancel(id: string, tx?: Transaction): Promise<void>;
  /** Deletes the history of ended work; the id may be used again. */
  forget(id: string): Promise<void>;
  /**
   * Whether this process still shows that it is alive, or tries to while Postgres is away; true as long as it has not
   * been launched. False means that it is stuck and should be restarted.
   */
  isAlive(): boolean;
  /**
   * Waits until, for `quietMs` (default: two leases, in which the work of a process that died comes back), this process
   * has executed nothing and nothing has waited in the queues that it pulls from. While Postgres is away, nobody knows.
   */
  untilIdle(quietMs?: number): Promise<void>;
  /**
   * Stops executing: running steps are aborted, and when they have ended, or after 15 s, their work goes back to the queue
   * for others to take at once.
   */
  stop(): Promise<void>;
}
