import { PairwiseError } from '@pairwise/errors';

/**
 * Refuses a fraction of the pairs to hold out for evaluation that is not at least 0 and below 1. Throws INVALID_ARGUMENT
 * with `field`, the path of the fraction in the request.
 */
export function checkHeldOutFraction(fraction: number, field: string): void {
  if (fraction >= 0 && fraction < 1) return;
  const message = `${field} is ${fraction}; it must be at least 0 and below 1`;
  throw new PairwiseError('INVALID_ARGUMENT', message, { field });
}
