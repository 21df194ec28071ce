import { readFileSync } from 'node:fs';
import { readToken, type Access } from './access.ts';
import type { ClientOptions } from './client.ts';
import type { HealthOptions } from './health.ts';

/** The variables that say how a process is reached and how it reaches its peers; `libs/config` documents and parses them. */
export interface AccessVariables {
  PAIRWISE_LISTEN: string;
  PAIRWISE_HEALTH_LISTEN?: string | undefined;
  PAIRWISE_TLS_CERT?: string | undefined;
  PAIRWISE_TLS_KEY?: string | undefined;
  PAIRWISE_TLS_CA?: string | undefined;
  PAIRWISE_TOKEN_FILE?: string | undefined;
  PAIRWISE_INSECURE: boolean;
}

/** Their names, for `readEnvironment`. */
export const accessVariables = [
  'PAIRWISE_LISTEN',
  'PAIRWISE_HEALTH_LISTEN',
  'PAIRWISE_TLS_CERT',
  'PAIRWISE_TLS_KEY',
  'PAIRWISE_TLS_CA',
  'PAIRWISE_TOKEN_FILE',
  'PAIRWISE_INSECURE',
] as const;

/** How the server of a process may be reached. */
export function serverAccess(variables: AccessVariables): Access & HealthOptions {
  const { PAIRWISE_TLS_CERT: certFile, PAIRWISE_TLS_KEY: keyFile } = variables;
  return {
    address: variables.PAIRWISE_LISTEN,
    healthAddress: variables.PAIRWISE_HEALTH_LISTEN,
    tls: certFile !== undefined && keyFile !== undefined ? { certFile, keyFile } : undefined,
    tokenFile: variables.PAIRWISE_TOKEN_FILE,
    insecure: variables.PAIRWISE_INSECURE,
  };
}

/** How a process shows itself to its peers: with its own token, and over TLS where an authority is named. */
export function clientSecurity(
  variables: Pick<AccessVariables, 'PAIRWISE_TLS_CA' | 'PAIRWISE_TOKEN_FILE'>,
): Omit<ClientOptions, 'address'> {
  const { PAIRWISE_TLS_CA: authority, PAIRWISE_TOKEN_FILE: tokenFile } = variables;
  return {
    tls: authority === undefined ? undefined : { authority: readFileSync(authority) },
    token: tokenFile === undefined ? undefined : readToken(tokenFile),
  };
}
