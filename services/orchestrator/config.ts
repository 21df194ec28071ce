import { type Look, readEnvironment } from '@pairwise/config';
import { accessVariables } from '@pairwise/rpc';

/** Reads the orchestrator's configuration. Throws INVALID_ARGUMENT with all problems at once. */
export function readConfig(environment: Record<string, string | undefined>, look?: Look) {
  return readEnvironment(
    { PAIRWISE_LISTEN: '127.0.0.1:7415', ...environment },
    [
      ...accessVariables,
      'DATABASE_URL',
      'PAIRWISE_DATASET_ADDRESS',
      'PAIRWISE_REFERENCE_ADDRESS',
      'PAIRWISE_TRAINING_ADDRESS',
      'PAIRWISE_EXPORT_ADDRESS',
    ],
    look,
  );
}
