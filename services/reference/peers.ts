import { DatasetServiceService, ModelServiceService } from '@pairwise/api';
import { clientSecurity, openClient } from '@pairwise/rpc';

export type Peers = ReturnType<typeof openPeers>;

/** Clients of the services that hold encodings and models; one process serves both. */
export function openPeers(config: Parameters<typeof clientSecurity>[0] & { PAIRWISE_DATASET_ADDRESS: string }) {
  const options = { ...clientSecurity(config), address: config.PAIRWISE_DATASET_ADDRESS };
  return {
    dataset: openClient(DatasetServiceService, options),
    model: openClient(ModelServiceService, options),
  };
}
