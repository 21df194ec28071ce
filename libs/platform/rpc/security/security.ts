import { ChannelCredentials } from '@grpc/grpc-js';
import type { ReloadLog } from './reload.ts';
import { type OptionalTlsFiles, clientTls } from './tls.ts';
import { readToken } from './tokens.ts';

/** How a client authenticates, and how it checks servers. Clients with the same security share connections. */
export interface Security {
  credentials: ChannelCredentials;
  /** The current contents of the token file. */
  token?: (() => string) | undefined;
}

export interface SecurityOptions {
  /** Use TLS. Without a `caFile`, servers are checked against the system's authorities. Default: clear text. */
  tls?: OptionalTlsFiles | undefined;
  tokenFile?: string | undefined;
}

/**
 * Reads the files that a client needs, and reads them again when they change. Throws INVALID_ARGUMENT for unusable
 * files.
 */
export function openSecurity({ tls, tokenFile }: SecurityOptions, log: ReloadLog): Security {
  return {
    credentials: tls === undefined ? ChannelCredentials.createInsecure() : clientTls(tls, log),
    token: tokenFile === undefined ? undefined : readToken(tokenFile, log),
  };
}
