import type { Access } from './access.ts';
import type { HealthOptions } from '../server/health.ts';
import type { ReloadLog } from './reload.ts';
import { type Security, openSecurity } from './security.ts';

/** The variables with which a process authenticates to its peers; `libs/platform/config` documents and parses them. */
export interface PeerVariables {
  PAIRWISE_TLS_CERT?: string | undefined;
  PAIRWISE_TLS_KEY?: string | undefined;
  PAIRWISE_TLS_CA?: string | undefined;
  PAIRWISE_TOKEN_FILE?: string | undefined;
}

/** Those variables, and the ones that say how a process can be reached. */
export interface AccessVariables extends PeerVariables {
  PAIRWISE_LISTEN: string;
  PAIRWISE_HEALTH_LISTEN?: string | undefined;
  PAIRWISE_ACCESS_FILE?: string | undefined;
  PAIRWISE_INSECURE: boolean;
}

/** The names of these variables, for `readEnvironment`. */
export const peerVariables = [
  'PAIRWISE_TLS_CERT',
  'PAIRWISE_TLS_KEY',
  'PAIRWISE_TLS_CA',
  'PAIRWISE_TOKEN_FILE',
] as const;
export const accessVariables = [
  ...peerVariables,
  'PAIRWISE_LISTEN',
  'PAIRWISE_HEALTH_LISTEN',
  'PAIRWISE_ACCESS_FILE',
  'PAIRWISE_INSECURE',
] as const;

/** How the server of a process can be reached. `callers` are the processes that may call with their certificate. */
export function serverAccess(variables: AccessVariables, callers: readonly string[]): Access & HealthOptions {
  const { PAIRWISE_TLS_CERT: certFile, PAIRWISE_TLS_KEY: keyFile, PAIRWISE_TLS_CA: caFile } = variables;
  return {
    address: variables.PAIRWISE_LISTEN,
    healthAddress: variables.PAIRWISE_HEALTH_LISTEN,
    tls: certFile !== undefined && keyFile !== undefined ? { certFile, keyFile, caFile } : undefined,
    callers,
    accessFile: variables.PAIRWISE_ACCESS_FILE,
    tokenFile: variables.PAIRWISE_TOKEN_FILE,
    insecure: variables.PAIRWISE_INSECURE,
  };
}

/**
 * How a process authenticates to its peers: with its token and, if an authority is named, with its certificate over
 * TLS.
 */
export function clientSecurity(variables: PeerVariables, log: ReloadLog): Security {
  const { PAIRWISE_TLS_CA: caFile, PAIRWISE_TLS_CERT: certFile, PAIRWISE_TLS_KEY: keyFile } = variables;
  const tls = caFile === undefined ? undefined : { caFile, certFile, keyFile };
  return openSecurity({ tls, tokenFile: variables.PAIRWISE_TOKEN_FILE }, log);
}
