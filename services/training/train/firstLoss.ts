import { PairwiseError } from '@pairwise/errors';
import { computeDtype } from '@pairwise/ort';
import { startLoss, type Metrics, type Objective } from '@pairwise/training';

/**
 * How far the first loss may be from the expected one, in nats, for weight 1, by the dtype of the arithmetic. In bfloat16 and
 * tf32 the logps of a response differ by 0.02 to 0.5 nats between the micro-batches of a training and those of the reference,
 * whose shapes differ: the margin by up to 1, and so a loss with beta 0.1 by up to 0.05.
 */
const toleranceNats: Readonly<Record<string, number>> = { float32: 1e-3, bfloat16: 0.05, tf32: 0.05 };

/**
 * Checks that the first loss is that of a policy which equals the reference: ln 2 for sigmoid. Any other means that the
 * reference logps belong to another model or were computed differently. Throws VERIFICATION_FAILED.
 */
export function checkFirstLoss({ loss = NaN }: Metrics, objective: Objective, numericsProfile: string): void {
  const [{ weight }] = objective.losses;
  const expected = startLoss(objective);
  const tolerance = toleranceNats[computeDtype(numericsProfile)];
  if (tolerance === undefined) throw new TypeError(`no tolerance is known for the first loss on ${numericsProfile}`);
  if (Math.abs(loss - expected) <= tolerance * weight) return;
  const message = `the first loss is ${loss}, not ${expected}: the reference logps do not belong to this model`;
  throw new PairwiseError('VERIFICATION_FAILED', message);
}
