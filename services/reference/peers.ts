import { DatasetServiceService, ModelServiceService } from '@pairwise/api';
import { type PeerVariables, clientSecurity, openClient } from '@pairwise/rpc';

export type Peers = ReturnType<typeof openPeers>;

/** Clients of the services that hold encodings and models; one process serves both. */
export function openPeers(
  config: PeerVariables & { PAIRWISE_DATASET_ADDRESS: string },
  log: Parameters<typeof clientSecurity>[1],
) {
  const options = { security: clientSecurity(config, log), address: config.PAIRWISE_DATASET_ADDRESS };
  return {
    dataset: openClient(DatasetServiceService, options),
    model: openClient(ModelServiceService, options),
  };
}
