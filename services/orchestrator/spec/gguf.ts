import type { InspectModelResponse } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { errorOf, isGguf } from '@pairwise/rpc';
import type { ResolvedSpec } from './resolved.ts';

/** Throws if a GGUF file is asked for that the model cannot become: it would be known only after training. */
export function checkGgufTargets(
  { exportTargets }: ResolvedSpec,
  { ggufObstacles }: Pick<InspectModelResponse, 'ggufObstacles'>,
): void {
  const index = exportTargets.findIndex(isGguf);
  if (index < 0 || ggufObstacles[0] === undefined) return;
  const { reason, message } = errorOf(ggufObstacles[0]);
  const field = `spec.export_targets[${index}]`;
  const remedy = 'list other export targets, or use another model';
  throw new PairwiseError(reason, `${field}: the model cannot be exported as GGUF: ${message}; ${remedy}`, { field });
}
