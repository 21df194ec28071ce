import { PairwiseError } from '@pairwise/errors';

/** Throws INVALID_ARGUMENT for a field of a request. The message is the field's path followed by the problem. */
export function refuseField(field: string, problem: string): never {
  throw new PairwiseError('INVALID_ARGUMENT', `${field} ${problem}`, { field });
}

/** Reasons that say nothing about the value of a field. */
const elsewhere = new Set(['UNAVAILABLE', 'DISK_FULL', 'CANCELLED', 'INTERNAL']);

/**
 * Waits for what a peer or a lookup answers about the value of a request field. Errors are rethrown with the path of
 * that field, the only one that the caller knows, unless they are not about the value: the peer is down, for example.
 */
export async function inField<T>(field: string, answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    if (!(error instanceof PairwiseError) || elsewhere.has(error.reason)) throw error;
    const message = `${field}: ${error.message.replace(/^name: /, '')}`;
    throw new PairwiseError(error.reason, message, { field, metadata: error.metadata, cause: error });
  }
}
