import { DatasetServiceService, ModelServiceService, ReferenceServiceService } from '@pairwise/api';
import { type PeerVariables, clientSecurity, openClient } from '@pairwise/rpc';

export type Peers = ReturnType<typeof openPeers>;

interface PeerConfig extends PeerVariables {
  PAIRWISE_DATASET_ADDRESS: string;
  PAIRWISE_REFERENCE_ADDRESS: string;
}

/** Clients of the services that hold what a training works on. */
export function openPeers(config: PeerConfig, log: Parameters<typeof clientSecurity>[1]) {
  const security = clientSecurity(config, log);
  const dataset = { security, address: config.PAIRWISE_DATASET_ADDRESS };
  return {
    dataset: openClient(DatasetServiceService, dataset),
    model: openClient(ModelServiceService, dataset),
    reference: openClient(ReferenceServiceService, { security, address: config.PAIRWISE_REFERENCE_ADDRESS }),
  };
}
