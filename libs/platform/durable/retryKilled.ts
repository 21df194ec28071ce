import { PairwiseError } from '@pairwise/errors';

const maxAttempts = 3;

/**
 * Retries work that runs in a child process (llama.cpp, a tokenizer) if that process was killed, which is INTERNAL.
 * Makes up to three attempts. Rethrows other errors, and any error once `signal` has aborted.
 */
export async function retryKilled<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      const killed = error instanceof PairwiseError && error.reason === 'INTERNAL';
      if (!killed || attempt === maxAttempts || signal.aborted) throw error;
    }
  }
}
