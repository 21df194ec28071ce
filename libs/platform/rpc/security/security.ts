import { ChannelCredentials } from '@grpc/grpc-js';
import type { ReloadLog } from './reload.ts';
import { type OptionalTlsFiles, clientTls } from './tls.ts';
import { readToken } from './tokens.ts';

/** What a client shows and what it asks of servers. Clients that share it share connections. */
export interface Security {
  credentials: ChannelCredentials;
  /** The bearer token, as its file has it by now. */
  token?: (() => string) | undefined;
}

export interface SecurityOptions {
  /** Speak TLS; the authority is the system's where no file names one. Default: clear text. */
  tls?: OptionalTlsFiles | undefined;
  tokenFile?: string | undefined;
}

/** Reads what a client needs, again once the files change. Throws INVALID_ARGUMENT for files that are unusable. */
export function openSecurity({ tls, tokenFile }: SecurityOptions, log: ReloadLog): Security {
  return {
    credentials: tls === undefined ? ChannelCredentials.createInsecure() : clientTls(tls, log),
    token: tokenFile === undefined ? undefined : readToken(tokenFile, log),
  };
}
