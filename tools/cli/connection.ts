import {
  DatasetServiceService,
  DiagnosticsServiceService,
  ExportServiceService,
  ModelServiceService,
  OrchestratorServiceService,
  ReferenceServiceService,
  TrainingServiceService,
} from '@pairwise/api';
import { type Client, type Security, openClient, openSecurity } from '@pairwise/rpc';
import { usage } from './exit.ts';

/** How to reach the platform, from options or the environment. */
export interface ConnectionOptions {
  /** `host:port` of the platform. */
  address: string;
  /** File that holds the bearer token. */
  tokenFile?: string;
  /** Use TLS and trust the system's certificate authorities. */
  tls?: boolean;
  /** Use TLS and trust the certificate authority in this PEM file. */
  tlsCa?: string;
}

/** A client for each service, all at the one address of the platform. */
export interface Services {
  dataset: Client<typeof DatasetServiceService>;
  model: Client<typeof ModelServiceService>;
  export: Client<typeof ExportServiceService>;
  orchestrator: Client<typeof OrchestratorServiceService>;
  reference: Client<typeof ReferenceServiceService>;
  training: Client<typeof TrainingServiceService>;
  diagnostics: Client<typeof DiagnosticsServiceService>;
  close(): void;
}

/** Reports on standard error when a replaced token or certificate file is unusable. */
const log = { error: (_fields: object, message: string) => process.stderr.write(`${message}\n`) };

function securityOf({ tokenFile, tls, tlsCa }: ConnectionOptions): Security {
  try {
    const usesTls = tls === true || tlsCa !== undefined;
    return openSecurity({ tls: usesTls ? { caFile: tlsCa } : undefined, tokenFile }, log);
  } catch (error) {
    return usage((error as Error).message);
  }
}

/** Opens the clients; nothing is sent until the first call. An unusable token or CA file is a usage error. */
export function connect(connection: ConnectionOptions): Services {
  const options = { address: connection.address, security: securityOf(connection) };
  const services = {
    dataset: openClient(DatasetServiceService, options),
    model: openClient(ModelServiceService, options),
    export: openClient(ExportServiceService, options),
    orchestrator: openClient(OrchestratorServiceService, options),
    reference: openClient(ReferenceServiceService, options),
    training: openClient(TrainingServiceService, options),
    diagnostics: openClient(DiagnosticsServiceService, options),
  };
  return { ...services, close: () => Object.values(services).forEach((client) => client.close()) };
}
