import { type Log, work } from './index.ts';

/** How many steps, and how long each takes in milliseconds. */
export interface Plan {
  steps: number;
  ms: number;
}

/** What is written for a step that was stopped. */
export const saved = -1;

export const plan = work<Plan, number>('count', 'counting');

const silent = () => undefined;
export const quiet: Log = { debug: silent, info: silent, warn: silent, error: silent };
