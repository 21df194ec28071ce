import { PairwiseError } from '@pairwise/errors';

/**
 * What a peer answers about what one field of a request names. Its errors come back with the path of that field, which is
 * all that the caller knows of, save that the peer is away.
 */
export async function inField<T>(field: string, answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    if (!(error instanceof PairwiseError) || error.reason === 'UNAVAILABLE') throw error;
    const message = `${field}: ${error.message.replace(/^name: /, '')}`;
    throw new PairwiseError(error.reason, message, { field, metadata: error.metadata, cause: error });
  }
}
