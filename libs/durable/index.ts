export { startDurable, type Body, type Durable, type DurableOptions, type Log, type WorkState } from './durable.ts';
export type { Attempt, StepOptions, Transaction } from './attempt.ts';
export { work, type Work } from './work.ts';
