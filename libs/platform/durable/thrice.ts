import { PairwiseError } from '@pairwise/errors';

/**
 * Work that a process of its own does (llama.cpp, a tokenizer): that may be killed like any other, which is INTERNAL.
 * Then the work is done again, three times at most. Other errors, and those after `signal` was aborted, are thrown on.
 */
export async function thrice<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  for (let left = 2; ; left -= 1) {
    try {
      return await work();
    } catch (error) {
      const died = error instanceof PairwiseError && error.reason === 'INTERNAL';
      if (!died || left === 0 || signal.aborted) throw error;
    }
  }
}
