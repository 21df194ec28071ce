/** Our own attributes on spans and in logs; all others are OpenTelemetry's semantic conventions. */
export const attributes = {
  /** Resource name of the run that something is done for; passed on as baggage. */
  run: 'pairwise.run.id',
  /** Id of a piece of durable work. */
  work: 'pairwise.work.id',
  /** Executions of the work since it last made progress, from 1. */
  tries: 'pairwise.work.tries',
} as const;

/** Names of spans. The span of a call is named after the full method, `pairwise.v1.TrainingService/StartTraining`. */
export const spanNames = {
  /** A command of the CLI: the root of a run's trace. */
  command: (words: string) => `pairwise ${words}`,
  /** Work was put into a queue (a producer span). */
  send: (queue: string) => `send ${queue}`,
  /** A process took the work (a consumer span; child of the producer's span and linked to it). */
  process: (queue: string) => `process ${queue}`,
  /** One step of the work; child of the consumer's span. */
  step: (work: string, step: string) => `${work} ${step}`,
} as const;
