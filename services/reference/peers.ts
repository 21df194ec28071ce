import { DatasetServiceService, ModelServiceService } from '@pairwise/api';
import { type Client, type PeerVariables, clientSecurity, openClient } from '@pairwise/rpc';
import type { Log } from '@pairwise/telemetry';

/** Clients of the services that hold encodings and models. One process serves both. */
export interface Peers {
  dataset: Client<typeof DatasetServiceService>;
  model: Client<typeof ModelServiceService>;
}

/** Opens a client for each service that holds inputs of a coverage. */
export function openPeers(config: PeerVariables & { PAIRWISE_DATASET_ADDRESS: string }, log: Log): Peers {
  const options = { security: clientSecurity(config, log), address: config.PAIRWISE_DATASET_ADDRESS };
  return {
    dataset: openClient(DatasetServiceService, options),
    model: openClient(ModelServiceService, options),
  };
}
