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
  /** The authority by which the certificates of others are checked. */
  caFile?: string | undefined;
}

/** As a client needs them. */
export type OptionalTlsFiles = { [File in keyof TlsFiles]?: string | undefined };

/** What a file of an authority holds. Throws INVALID_ARGUMENT unless it is a certificate. */
function checkAuthority(pem: Buffer, path: string): void {
  try {
    new X509Certificate(pem);
  } catch (error) {
    throw new PairwiseError('INVALID_ARGUMENT', `${path} holds no certificate in PEM`, { cause: error });
  }
}

/** Reads TLS files, again once they change. Throws INVALID_ARGUMENT for files that do not fit together. */
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
    // Without an authority of our own, that of any website would do.
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

/** Tells a server of new TLS files, until the returned function is called. */
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
 * Credentials of a server that asks for client certificates if it has an authority to check them by, but does not
 * insist: of a certificate that is not the authority's, or not valid now, grpc-js tells nothing (see `identityOf`).
 * New files are for new connections; open ones go on. `stop` ends looking for them.
 */
export function serverTls(files: TlsFiles, log: ReloadLog): { credentials: ServerCredentials; stop: () => void } {
  const current = readTls(files, log);
  const credentials = new OptionalClientCertificates(current());
  return { credentials, stop: whenRenewed(current, (options) => credentials.renew(options)) };
}

/** Each connection is made with what the files hold by then. */
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
 * Credentials of a client; the authority is the system's where no file names one. The server's certificate must have the
 * name, DNS or IP, by which it is called, as everywhere in TLS: a certificate made by cert-manager has the names of the
 * Service (`dnsNames: [dataset, dataset.<namespace>.svc]`), so that of another service does not pass.
 */
export function clientTls(files: OptionalTlsFiles, log: ReloadLog): ChannelCredentials {
  return new RenewedCredentials(readTls(files, log));
}

/**
 * The process `orchestrator` of a certificate whose one URI is `spiffe://pairwise/orchestrator`; undefined for all others.
 * The certificate is one that was verified: grpc-js's `getAuthContext` has no other.
 */
export function identityOf(certificate: Pick<PeerCertificate, 'subjectaltname'> | undefined): string | undefined {
  const names = certificate?.subjectaltname ?? '';
  // Names that hold a comma or the like are put in quotes.
  if (names.includes('"')) return undefined;
  const uris = names.split(', ').filter((name) => name.startsWith('URI:'));
  if (uris.length !== 1) return undefined;
  return /^URI:spiffe:\/\/pairwise\/([a-z-]+)$/.exec(uris[0]!)?.[1];
}
