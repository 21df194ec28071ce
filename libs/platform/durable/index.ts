export type { Attempt, ActivityOptions } from './attempt.ts';
export type { Body, Durable, QueueState, WorkState } from './durable.ts';
export type { DurableLog } from './log.ts';
export { migrateDurable, migrateService, type DurableDatabase } from './migrate.ts';
export { startDurable, type DurableOptions } from './start.ts';
export { retryKilled } from './retryKilled.ts';
export type { Transaction } from './transaction.ts';
export { work, type Work } from './work.ts';
export { leastMemoryBytes } from './workerMemory.ts';
