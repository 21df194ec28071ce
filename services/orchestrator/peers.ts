import {
  DatasetServiceService,
  DiagnosticsServiceService,
  ExportServiceService,
  ModelServiceService,
  ReferenceServiceService,
  TrainingServiceService,
} from '@pairwise/api';
import { openClient, type Security } from '@pairwise/rpc';
import type { Config } from './config.ts';

export type Peers = ReturnType<typeof openPeers>;

/** Clients of the services that a run goes through. */
export function openPeers(config: Config, security: Security) {
  const dataset = { security, address: config.PAIRWISE_DATASET_ADDRESS };
  return {
    dataset: openClient(DatasetServiceService, dataset),
    model: openClient(ModelServiceService, dataset),
    reference: openClient(ReferenceServiceService, { security, address: config.PAIRWISE_REFERENCE_ADDRESS }),
    training: openClient(TrainingServiceService, { security, address: config.PAIRWISE_TRAINING_ADDRESS }),
    export: openClient(ExportServiceService, { security, address: config.PAIRWISE_EXPORT_ADDRESS }),
  };
}

/** Clients by which the services behind this one are asked how they are, by the name of their process. */
export function openDiagnostics(config: Config, security: Security) {
  const at = (address: string) => openClient(DiagnosticsServiceService, { security, address });
  return {
    dataset: at(config.PAIRWISE_DATASET_ADDRESS),
    reference: at(config.PAIRWISE_REFERENCE_ADDRESS),
    training: at(config.PAIRWISE_TRAINING_ADDRESS),
    export: at(config.PAIRWISE_EXPORT_ADDRESS),
  };
}
