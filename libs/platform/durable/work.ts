/**
 * A kind of durable work, as agreed between the process that enqueues it and the one that executes it. Input and output
 * are plain JSON.
 */
export interface Work<Input, Output> {
  readonly name: string;
  /** Processes pull work by queue; each kind of work has one queue. */
  readonly queue: string;
  /** For the type checker only. */
  readonly types?: (input: Input) => Output;
}

/** Defines a kind of work, once, in a file that both sides import: `work<TrainInput>('train', 'accelerator')`. */
export function work<Input, Output = void>(name: string, queue: string): Work<Input, Output> {
  return { name, queue };
}
