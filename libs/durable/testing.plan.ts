import { type Log, work } from './index.ts';

/** So many steps of so many milliseconds. */
export interface Plan {
  steps: number;
  ms: number;
}

export const plan = work<Plan, number>('count', 'counting');

const silent = () => undefined;
export const quiet: Log = { debug: silent, info: silent, warn: silent, error: silent };
