import { type DurableLog, work } from './index.ts';

/** The number of steps, and how many milliseconds each takes. */
export interface Plan {
  steps: number;
  ms: number;
  /** Whether a small process declines it. @default false */
  isLarge?: boolean;
}

/** Written to the table instead of the number of a step that was stopped. */
export const saved = -1;

export const plan = work<Plan, number>('count', 'counting');

const silent = () => undefined;
export const quiet: DurableLog = { debug: silent, info: silent, warn: silent, error: silent };
