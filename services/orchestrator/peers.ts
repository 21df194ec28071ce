import {
  DatasetServiceService,
  DiagnosticsServiceService,
  ExportServiceService,
  ModelServiceService,
  ReferenceServiceService,
  TrainingServiceService,
} from '@pairwise/api';
import { openClient, type Client, type Security } from '@pairwise/rpc';

/** Addresses of the services that a run goes through, `host:port` each. */
export interface PeerAddresses {
  PAIRWISE_DATASET_ADDRESS: string;
  PAIRWISE_REFERENCE_ADDRESS: string;
  PAIRWISE_TRAINING_ADDRESS: string;
  PAIRWISE_EXPORT_ADDRESS: string;
}

/** Clients of the services that a run goes through. */
export interface Peers {
  dataset: Client<typeof DatasetServiceService>;
  /** Models are served by the dataset service's process. */
  model: Client<typeof ModelServiceService>;
  reference: Client<typeof ReferenceServiceService>;
  training: Client<typeof TrainingServiceService>;
  export: Client<typeof ExportServiceService>;
}

/** Opens a client for each service that a run goes through. */
export function openPeers(config: PeerAddresses, security: Security): Peers {
  const dataset = { security, address: config.PAIRWISE_DATASET_ADDRESS };
  return {
    dataset: openClient(DatasetServiceService, dataset),
    model: openClient(ModelServiceService, dataset),
    reference: openClient(ReferenceServiceService, { security, address: config.PAIRWISE_REFERENCE_ADDRESS }),
    training: openClient(TrainingServiceService, { security, address: config.PAIRWISE_TRAINING_ADDRESS }),
    export: openClient(ExportServiceService, { security, address: config.PAIRWISE_EXPORT_ADDRESS }),
  };
}

/** Opens clients for the diagnostics of the same services, keyed by process name. */
export function openDiagnostics(
  config: PeerAddresses,
  security: Security,
): Record<string, Client<typeof DiagnosticsServiceService>> {
  const at = (address: string) => openClient(DiagnosticsServiceService, { security, address });
  return {
    dataset: at(config.PAIRWISE_DATASET_ADDRESS),
    reference: at(config.PAIRWISE_REFERENCE_ADDRESS),
    training: at(config.PAIRWISE_TRAINING_ADDRESS),
    export: at(config.PAIRWISE_EXPORT_ADDRESS),
  };
}
