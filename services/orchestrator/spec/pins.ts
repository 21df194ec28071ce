import type { Pins } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import type { ResolvedSpec } from './resolved.ts';

const pinFields = {
  modelDigest: 'model_digest',
  datasetDigest: 'dataset_digest',
  evalDatasetDigest: 'eval_dataset_digest',
  numericsProfile: 'numerics_profile',
  engineVersion: 'engine_version',
} as const satisfies Partial<Record<keyof Pins, string>>;

/** Throws DIGEST_MISMATCH if the spec pins an input that is not `actual`. An empty pin matches everything. */
export function checkPin({ pins }: ResolvedSpec, pin: keyof typeof pinFields, actual: string): void {
  const pinned = pins?.[pin] ?? '';
  if (pinned === '' || pinned === actual) return;
  const field = `spec.pins.${pinFields[pin]}`;
  const message = `${field} is '${pinned}', but the run would use '${actual}'; leave the pin out to accept that`;
  throw new PairwiseError('DIGEST_MISMATCH', message, { field });
}
