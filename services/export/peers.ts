import { DatasetServiceService, ModelServiceService, TrainingServiceService } from '@pairwise/api';
import { type Client, type PeerVariables, clientSecurity, openClient } from '@pairwise/rpc';

/** The services that hold what is exported. */
export interface Peers {
  dataset: Client<typeof DatasetServiceService>;
  model: Client<typeof ModelServiceService>;
  training: Client<typeof TrainingServiceService>;
}

interface PeerConfig extends PeerVariables {
  PAIRWISE_DATASET_ADDRESS: string;
  PAIRWISE_TRAINING_ADDRESS: string;
}

export function openPeers(config: PeerConfig, log: Parameters<typeof clientSecurity>[1]): Peers {
  const security = clientSecurity(config, log);
  const dataset = { security, address: config.PAIRWISE_DATASET_ADDRESS };
  return {
    dataset: openClient(DatasetServiceService, dataset),
    model: openClient(ModelServiceService, dataset),
    training: openClient(TrainingServiceService, { security, address: config.PAIRWISE_TRAINING_ADDRESS }),
  };
}
