import { DatasetServiceService, ModelServiceService, TrainingServiceService } from '@pairwise/api';
import { clientSecurity, openClient } from '@pairwise/rpc';

export type Peers = ReturnType<typeof openPeers>;

type PeerConfig = Parameters<typeof clientSecurity>[0] & {
  PAIRWISE_DATASET_ADDRESS: string;
  PAIRWISE_TRAINING_ADDRESS: string;
};

/** Clients of the services that hold what is exported. */
export function openPeers(config: PeerConfig) {
  const security = clientSecurity(config);
  const dataset = { ...security, address: config.PAIRWISE_DATASET_ADDRESS };
  return {
    dataset: openClient(DatasetServiceService, dataset),
    model: openClient(ModelServiceService, dataset),
    training: openClient(TrainingServiceService, { ...security, address: config.PAIRWISE_TRAINING_ADDRESS }),
  };
}
