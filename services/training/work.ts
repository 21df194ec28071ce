import { work } from '@pairwise/durable';

/** One attempt of a training. Workers execute it, since they own the accelerators. */
export const trainWork = work<{ training: string }>('train', 'accelerator');

/** The id of the work of a training's attempt. */
export function trainWorkId(training: string, attempt: number): string {
  return `${training}/${attempt}`;
}
