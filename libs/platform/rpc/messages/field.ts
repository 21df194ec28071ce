import { PairwiseError } from '@pairwise/errors';

/** Throws INVALID_ARGUMENT for a field of a request. The message is the field's path and then the problem. */
export function refuseField(field: string, problem: string): never {
  throw new PairwiseError('INVALID_ARGUMENT', `${field} ${problem}`, { field });
}

/** What says nothing of what a field names. */
const elsewhere = new Set(['UNAVAILABLE', 'DISK_FULL', 'CANCELLED', 'INTERNAL']);

/**
 * What a peer, or a lookup, answers about what one field of a request names. Its errors come back with the path of that
 * field, which is all that the caller knows of, save those that are not about it, such as that the peer is away.
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
