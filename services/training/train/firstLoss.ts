import { PairwiseError } from '@pairwise/errors';
import { startLoss, type Metrics, type Objective } from '@pairwise/training';

/** How far the first loss may be from the expected one, in nats, for weight 1. */
const toleranceNats = 1e-3;

/**
 * Checks that the first loss is that of a policy which equals the reference: ln 2 for sigmoid. Any other means that the
 * reference logps belong to another model or were computed differently. Throws VERIFICATION_FAILED.
 */
export function checkFirstLoss({ loss = NaN }: Metrics, objective: Objective): void {
  const [{ weight }] = objective.losses;
  const expected = startLoss(objective);
  if (Math.abs(loss - expected) <= toleranceNats * weight) return;
  const message = `the first loss is ${loss}, not ${expected}: the reference logps do not belong to this model`;
  throw new PairwiseError('VERIFICATION_FAILED', message);
}
