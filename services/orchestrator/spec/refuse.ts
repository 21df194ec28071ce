import { PairwiseError } from '@pairwise/errors';

/** Throws INVALID_ARGUMENT for a field of a request; the message is the field and then the problem. */
export function refuse(field: string, problem: string): never {
  throw new PairwiseError('INVALID_ARGUMENT', `${field} ${problem}`, { field });
}
