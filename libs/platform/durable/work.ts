/** A kind of durable work: what the enqueuing and the executing process agree on. Input and output are plain JSON. */
export interface Work<Input, Output> {
  readonly name: string;
  /** Processes pull work by queue; each kind of work is on one. */
  readonly queue: string;
  /** For the type checker alone. */
  readonly types?: (input: Input) => Output;
}

/** Names a kind of work, once, in a file that both sides import: `work<TrainInput>('train', 'accelerator')`. */
export function work<Input, Output = void>(name: string, queue: string): Work<Input, Output> {
  return { name, queue };
}
