import { X509Certificate } from 'node:crypto';
import { type PeerCertificate, type SecureContextOptions, createSecureContext } from 'node:tls';
import { CallCredentials, ChannelCredentials, ServerCredentials } from '@grpc/grpc-js';
import { PairwiseError } from '@pairwise/errors';
import { type ReloadLog, reloaded } from './reload.ts';

/** PEM files. */
export interface TlsFiles {
  /** Certificate chain and key of this process. */
  certFile: string;
  keyFile: string;
  /** The authority that the certificates of others are checked against. */
  caFile?: string | undefined;
}

/** The same files for a client, which needs none of them. */
export type OptionalTlsFiles = { [File in keyof TlsFiles]?: string | undefined };

/** Returns the contents of an authority's file. Throws INVALID_ARGUMENT unless it is a certificate. */
function checkAuthority(pem: Buffer, path: string): void {
  try {
    new X509Certificate(pem);
  } catch (error) {
    throw new PairwiseError('INVALID_ARGUMENT', `${path} does not contain a PEM certificate`, { cause: error });
  }
}

/** Reads TLS files, and reads them again when they change. Throws INVALID_ARGUMENT for files that do not match. */
export function readTls(files: OptionalTlsFiles, log: ReloadLog): () => SecureContextOptions {
  const { certFile, keyFile, caFile } = files;
  const paths = [certFile, keyFile, caFile].filter((path) => path !== undefined);
  return reloaded(
    paths,
    (contents) => {
      const [cert, key, ca] = [certFile, keyFile, caFile].map((path) =>
        path === undefined ? undefined : contents[paths.indexOf(path)],
      );
      if (ca !== undefined) checkAuthority(ca, caFile!);
      const options = { cert, key, ca };
      try {
        createSecureContext(options);
      } catch (error) {
        const message = `${paths.join(', ')} cannot be used for TLS: ${(error as Error).message}`;
        throw new PairwiseError('INVALID_ARGUMENT', message, { cause: error });
      }
      return options;
    },
    log,
  );
}

class OptionalClientCertificates extends ServerCredentials {
  constructor(options: SecureContextOptions) {
    // Without an authority of our own, Node would trust the authorities of public websites.
    super({ requestCert: options.ca !== undefined, rejectUnauthorized: false }, options);
  }

  renew(options: SecureContextOptions): void {
    this.updateSecureContextOptions(options);
  }

  override _equals(other: ServerCredentials): boolean {
    return other === this;
  }
}

const renewMs = 1000;

/** Notifies a server of new TLS files until the returned function is called. */
export function whenRenewed(
  current: () => SecureContextOptions,
  use: (options: SecureContextOptions) => void,
): () => void {
  let used = current();
  const renewing = setInterval(() => {
    if (used === current()) return;
    used = current();
    use(used);
  }, renewMs).unref();
  return () => clearInterval(renewing);
}

/**
 * Credentials of a server. If it has an authority, it asks for client certificates but does not require them: grpc-js
 * ignores a certificate that is from another authority or not currently valid (see `identityOf`). New files apply to
 * new connections; open ones continue. `stop` stops checking for new files.
 */
export function serverTls(files: TlsFiles, log: ReloadLog): { credentials: ServerCredentials; stop: () => void } {
  const current = readTls(files, log);
  const credentials = new OptionalClientCertificates(current());
  return { credentials, stop: whenRenewed(current, (options) => credentials.renew(options)) };
}

/** Uses the current contents of the files for each new connection. */
class RenewedCredentials extends ChannelCredentials {
  private readonly current: () => SecureContextOptions;

  constructor(current: () => SecureContextOptions) {
    super();
    this.current = current;
  }

  override _isSecure(): boolean {
    return true;
  }

  override _equals(other: ChannelCredentials): boolean {
    return other === this;
  }

  override _createSecureConnector(
    ...[target, options, calls = CallCredentials.createEmpty()]: Parameters<
      ChannelCredentials['_createSecureConnector']
    >
  ): ReturnType<ChannelCredentials['_createSecureConnector']> {
    return {
      connect: (socket) => {
        const now = ChannelCredentials.createFromSecureContext(createSecureContext(this.current()));
        return now._createSecureConnector(target, options).connect(socket);
      },
      waitForReady: () => Promise.resolve(),
      getCallCredentials: () => calls,
      destroy: () => undefined,
    };
  }
}

/**
 * Credentials of a client. Without a `caFile`, servers are checked against the system's authorities. As always in TLS,
 * the server's certificate must contain the DNS name or IP address that the client connects to. A certificate from
 * cert-manager contains the names of its Service (`dnsNames: [dataset, dataset.<namespace>.svc]`), so another service's
 * certificate is refused.
 */
export function clientTls(files: OptionalTlsFiles, log: ReloadLog): ChannelCredentials {
  return new RenewedCredentials(readTls(files, log));
}

/**
 * Returns the process, such as `orchestrator`, of a certificate whose only URI is `spiffe://pairwise/orchestrator`;
 * undefined for any other certificate. The certificate has been verified: grpc-js's `getAuthContext` returns no others.
 */
export function identityOf(certificate: Pick<PeerCertificate, 'subjectaltname'> | undefined): string | undefined {
  const names = certificate?.subjectaltname ?? '';
  // Names that contain a comma or the like are quoted.
  if (names.includes('"')) return undefined;
  const uris = names.split(', ').filter((name) => name.startsWith('URI:'));
  if (uris.length !== 1) return undefined;
  return /^URI:spiffe:\/\/pairwise\/([a-z-]+)$/.exec(uris[0]!)?.[1];
}
