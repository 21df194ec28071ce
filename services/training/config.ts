import { type Look, readEnvironment } from '@pairwise/config';
import { accessVariables, peerVariables } from '@pairwise/rpc';
import { storeVariables } from '@pairwise/store';

const common = ['DATABASE_URL', 'PAIRWISE_DEVICE', 'PAIRWISE_DATASET_ADDRESS', 'PAIRWISE_REFERENCE_ADDRESS'] as const;

/** Reads the configuration of the service. Throws INVALID_ARGUMENT with all problems at once. */
export function readConfig(environment: Record<string, string | undefined>, look?: Look) {
  return readEnvironment({ PAIRWISE_LISTEN: '127.0.0.1:7413', ...environment }, [...accessVariables, ...common], look);
}

/** Reads the configuration of a worker. Throws INVALID_ARGUMENT with all problems at once. */
export function readWorkerConfig(environment: Record<string, string | undefined>, look?: Look) {
  return readEnvironment(
    environment,
    [
      ...common,
      ...storeVariables,
      ...peerVariables,
      'PAIRWISE_HEALTH_LISTEN',
      'PAIRWISE_THREADS',
      'PAIRWISE_EXIT_WHEN_IDLE',
    ],
    look,
  );
}
