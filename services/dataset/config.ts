import { type Look, readEnvironment } from '@pairwise/config';
import { accessVariables } from '@pairwise/rpc';
import { storeVariables } from '@pairwise/store';

/** Reads the configuration of the dataset process. Throws INVALID_ARGUMENT that lists every problem. */
export function readConfig(environment: Record<string, string | undefined>, look?: Look) {
  return readEnvironment(
    { PAIRWISE_LISTEN: '127.0.0.1:7411', ...environment },
    [
      ...accessVariables,
      'DATABASE_URL',
      ...storeVariables,
      'PAIRWISE_MODEL_ROOTS',
      'HF_ENDPOINT',
      'HF_TOKEN',
      'HF_HOME',
      'HF_HUB_OFFLINE',
    ],
    look,
  );
}
