import { createHash, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { type ServerInterceptor, ServerInterceptingCall } from '@grpc/grpc-js';
import { PairwiseError } from '@pairwise/errors';
import { toTrailers } from './failures.ts';

/** How a server may be reached. Paths are of PEM files and of a file with one token. */
export interface Access {
  /** `host:port`; port 0 takes any free one. */
  address: string;
  tls?: { certFile: string; keyFile: string } | undefined;
  tokenFile?: string | undefined;
  /** Allows an address other than loopback without TLS and token. Default false. */
  insecure?: boolean | undefined;
}

/** Whether only this machine can reach the host of `host:port`. */
export function isLoopback(address: string): boolean {
  const host = address.slice(0, address.lastIndexOf(':')).replace(/^\[(.*)\]$/, '$1');
  if (isIP(host) === 4) return host.startsWith('127.');
  return host === '::1' || host === 'localhost';
}

/** Throws INVALID_ARGUMENT for an address that others can reach, unless TLS and a token guard it, or `insecure` is set. */
export function checkAccess({ address, tls, tokenFile, insecure = false }: Access): void {
  if (insecure || isLoopback(address) || (tls !== undefined && tokenFile !== undefined)) return;
  throw new PairwiseError(
    'INVALID_ARGUMENT',
    `other machines can reach ${address}: set PAIRWISE_TLS_CERT, PAIRWISE_TLS_KEY and PAIRWISE_TOKEN_FILE, ` +
      'or PAIRWISE_INSECURE if the network is yours alone',
    { field: 'PAIRWISE_LISTEN' },
  );
}

/** The token in a file. Throws INVALID_ARGUMENT if there is none, or one too short to be secret. */
export function readToken(path: string): string {
  const token = readFileSync(path, 'utf8').trim();
  if (/^[\x21-\x7e]{16,}$/.test(token)) return token;
  throw new PairwiseError('INVALID_ARGUMENT', `${path} holds no token of at least 16 printable characters`, {
    field: 'PAIRWISE_TOKEN_FILE',
  });
}

const sha256 = (text: string) => createHash('sha256').update(text).digest();

/** Tells whether an `authorization` header has the token; in constant time. */
export function tokenCheck(token: string): (authorization: string | undefined) => boolean {
  const expected = sha256(`Bearer ${token}`);
  return (authorization) => timingSafeEqual(sha256(authorization ?? ''), expected);
}

/** Refuses calls without the bearer token, save health checks, which carry none. */
export function requireToken(token: string): ServerInterceptor {
  const allowed = tokenCheck(token);
  return (method, call) =>
    new ServerInterceptingCall(call, {
      start: (next) => {
        next({
          onReceiveMetadata: (metadata, goOn) => {
            const given = metadata.get('authorization').map(String)[0];
            if (method.path.startsWith('/grpc.health.v1.') || allowed(given)) {
              goOn(metadata);
              return;
            }
            const message = 'the call has no valid bearer token; set PAIRWISE_TOKEN_FILE to that of the server';
            call.sendStatus(toTrailers(new PairwiseError('UNAUTHENTICATED', message)));
          },
        });
      },
    });
}
