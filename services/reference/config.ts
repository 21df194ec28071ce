import { type Look, readEnvironment } from '@pairwise/config';
import { accessVariables } from '@pairwise/rpc';
import { storeVariables } from '@pairwise/store';

const common = ['DATABASE_URL', ...storeVariables, 'PAIRWISE_DEVICE'] as const;

/** Reads the configuration of the service. Throws INVALID_ARGUMENT with all problems at once. */
export function readConfig(environment: Record<string, string | undefined>, look?: Look) {
  return readEnvironment(
    { PAIRWISE_LISTEN: '127.0.0.1:7412', ...environment },
    [...accessVariables, ...common, 'PAIRWISE_DATASET_ADDRESS'],
    look,
  );
}

/** Reads the configuration of a worker. Throws INVALID_ARGUMENT with all problems at once. */
export function readWorkerConfig(environment: Record<string, string | undefined>, look?: Look) {
  return readEnvironment(environment, [...common, 'PAIRWISE_HEALTH_LISTEN', 'PAIRWISE_THREADS'], look);
}
