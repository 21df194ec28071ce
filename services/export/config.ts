import { type Look, readEnvironment } from '@pairwise/config';
import { accessVariables } from '@pairwise/rpc';
import { storeVariables } from '@pairwise/store';

/** Reads the export service's configuration. Throws INVALID_ARGUMENT with all problems at once. */
export function readConfig(environment: Record<string, string | undefined>, look?: Look) {
  return readEnvironment(
    { PAIRWISE_LISTEN: '127.0.0.1:7414', ...environment },
    [
      ...accessVariables,
      'DATABASE_URL',
      ...storeVariables,
      'PAIRWISE_DATASET_ADDRESS',
      'PAIRWISE_TRAINING_ADDRESS',
      'PAIRWISE_THREADS',
      'HF_ENDPOINT',
      'HF_TOKEN',
      'PAIRWISE_HUB_PUSH_NAMESPACES',
    ],
    look,
  );
}
