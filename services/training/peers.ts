import { DatasetServiceService, ModelServiceService, ReferenceServiceService } from '@pairwise/api';
import { type Client, type PeerVariables, clientSecurity, openClient } from '@pairwise/rpc';
import type { Log } from '@pairwise/telemetry';

/** Clients of the services that hold the inputs of a training. */
export interface Peers {
  dataset: Client<typeof DatasetServiceService>;
  /** Models are served by the dataset service's process. */
  model: Client<typeof ModelServiceService>;
  reference: Client<typeof ReferenceServiceService>;
}

interface PeerConfig extends PeerVariables {
  PAIRWISE_DATASET_ADDRESS: string;
  PAIRWISE_REFERENCE_ADDRESS: string;
}

/** Opens a client for each service that holds inputs of a training. */
export function openPeers(config: PeerConfig, log: Log): Peers {
  const security = clientSecurity(config, log);
  const dataset = { security, address: config.PAIRWISE_DATASET_ADDRESS };
  return {
    dataset: openClient(DatasetServiceService, dataset),
    model: openClient(ModelServiceService, dataset),
    reference: openClient(ReferenceServiceService, { security, address: config.PAIRWISE_REFERENCE_ADDRESS }),
  };
}
