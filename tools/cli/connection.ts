import { readFileSync } from 'node:fs';
import {
  DatasetServiceService,
  ExportServiceService,
  ModelServiceService,
  OrchestratorServiceService,
} from '@pairwise/api';
import { type Client, type ClientOptions, openClient, readToken } from '@pairwise/rpc';
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
  close(): void;
}

function tlsOf({ tls, tlsCa }: Reach): ClientOptions['tls'] {
  if (tlsCa === undefined) return tls === true ? {} : undefined;
  try {
    return { authority: readFileSync(tlsCa) };
  } catch (error) {
    return usage(`--tls-ca: ${(error as Error).message}`);
  }
}

/** Opens the clients; nothing is sent until one is called. Throws for files that cannot be read. */
export function connect(reach: Reach): Services {
  const token = reach.tokenFile === undefined ? undefined : readToken(reach.tokenFile);
  const options = { address: reach.address, tls: tlsOf(reach), token };
  const services = {
    dataset: openClient(DatasetServiceService, options),
    model: openClient(ModelServiceService, options),
    export: openClient(ExportServiceService, options),
    orchestrator: openClient(OrchestratorServiceService, options),
  };
  return { ...services, close: () => Object.values(services).forEach((client) => client.close()) };
}
