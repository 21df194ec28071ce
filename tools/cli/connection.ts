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

/** How the platform is reached, by options or environment. */
export interface Reach {
  /** `host:port` of the front. */
  address: string;
  /** File with the bearer token. */
  tokenFile?: string;
  /** Speak TLS, checked by the system's authorities. */
  tls?: boolean;
  /** Speak TLS, checked by the authority in this PEM file. */
  tlsCa?: string;
}

/** A client of each service that the commands call, all at the front's address. */
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

/** New contents of the files that are unusable are told of on standard error. */
const log = { error: (_fields: object, message: string) => process.stderr.write(`${message}\n`) };

function securityOf({ tokenFile, tls, tlsCa }: Reach): Security {
  try {
    const speaksTls = tls === true || tlsCa !== undefined;
    return openSecurity({ tls: speaksTls ? { caFile: tlsCa } : undefined, tokenFile }, log);
  } catch (error) {
    return usage((error as Error).message);
  }
}

/** Opens the clients; nothing is sent until one is called. Ends the command by `usage` for files that are unusable. */
export function connect(reach: Reach): Services {
  const options = { address: reach.address, security: securityOf(reach) };
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
