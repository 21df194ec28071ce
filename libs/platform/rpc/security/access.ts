import { isIP } from 'node:net';
import { PairwiseError } from '@pairwise/errors';
import type { TlsFiles } from './tls.ts';

/** How a server can be reached, and by whom. All files are read again when they change. */
export interface Access {
  /** `host:port`; port 0 picks a free one. */
  address: string;
  /** With `caFile`, callers may present a certificate instead of a token. */
  tls?: TlsFiles | undefined;
  /** Processes that may call with their certificate. Default: none. */
  callers?: readonly string[] | undefined;
  /** Tokens and their roles; see `parseAccess`. */
  accessFile?: string | undefined;
  /** Used without an access file: the single token, which may do everything. */
  tokenFile?: string | undefined;
  /** Allows an address other than loopback without TLS and tokens. Default false. */
  insecure?: boolean | undefined;
}

/** Whether the host of `host:port` can be reached only from this machine. */
export function isLoopback(address: string): boolean {
  const host = address.slice(0, address.lastIndexOf(':')).replace(/^\[(.*)\]$/, '$1');
  if (isIP(host) === 4) return host.startsWith('127.');
  return host === '::1' || host === 'localhost';
}

/** Whether callers must authenticate. */
export function isGuarded({ tls, accessFile, tokenFile }: Access): boolean {
  return accessFile !== undefined || tokenFile !== undefined || tls?.caFile !== undefined;
}

/**
 * Throws INVALID_ARGUMENT if other machines can reach the address, unless TLS and authentication are on, or `insecure`
 * is set.
 */
export function checkAccess(access: Access): void {
  const { address, tls, insecure = false } = access;
  if (insecure || isLoopback(address) || (tls !== undefined && isGuarded(access))) return;
  throw new PairwiseError(
    'INVALID_ARGUMENT',
    `other machines can reach ${address}: set PAIRWISE_TLS_CERT, PAIRWISE_TLS_KEY and PAIRWISE_TOKEN_FILE or ` +
      'PAIRWISE_ACCESS_FILE, or PAIRWISE_INSECURE on a private network',
    { field: 'PAIRWISE_LISTEN' },
  );
}
