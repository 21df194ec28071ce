import { createHash, generateKeyPairSync } from 'node:crypto';
import { mkdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import forge from 'node-forge';

/** A certificate and its key, in PEM. */
export interface Issued {
  cert: string;
  key: string;
}

export interface CertificateOptions {
  /** DNS names, IP addresses, and URIs including the scheme. */
  names: readonly string[];
  /** Start and end of validity, in days from now. Default: yesterday to tomorrow. */
  days?: readonly [number, number];
}

export interface Authority {
  /** The authority's own certificate. */
  cert: string;
  issue(options: CertificateOptions): Issued;
}

/** In hexadecimal this is a whole number of bytes without leading zeros. */
let serial = 0x10000000;

function keys(): { key: string; privateKey: forge.pki.rsa.PrivateKey; publicKey: forge.pki.rsa.PublicKey } {
  const made = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
  });
  return {
    key: made.privateKey,
    privateKey: forge.pki.privateKeyFromPem(made.privateKey),
    publicKey: forge.pki.publicKeyFromPem(made.publicKey),
  };
}

const dayMs = 86_400_000;

function blank(publicKey: forge.pki.rsa.PublicKey, name: string, [from, to]: readonly [number, number] = [-1, 1]) {
  const certificate = forge.pki.createCertificate();
  certificate.publicKey = publicKey;
  certificate.serialNumber = (serial += 1).toString(16);
  certificate.validity.notBefore = new Date(Date.now() + from * dayMs);
  certificate.validity.notAfter = new Date(Date.now() + to * dayMs);
  certificate.setSubject([{ shortName: 'CN', value: name }]);
  return certificate;
}

const altName = (name: string) => {
  if (name.includes('://')) return { type: 6, value: name };
  return /^[\d.]+$/.test(name) ? { type: 7, ip: name } : { type: 2, value: name };
};

/** Makes a certificate authority, as cert-manager does in a cluster. */
export function makeAuthority(name = 'authority'): Authority {
  const own = keys();
  const root = blank(own.publicKey, name);
  root.setIssuer(root.subject.attributes);
  root.setExtensions([{ name: 'basicConstraints', cA: true }]);
  root.sign(own.privateKey, forge.md.sha256.create());
  return {
    cert: forge.pki.certificateToPem(root),
    issue: ({ names, days }) => {
      const { key, publicKey } = keys();
      const leaf = blank(publicKey, 'leaf', days);
      leaf.setIssuer(root.subject.attributes);
      leaf.setExtensions([{ name: 'subjectAltName', altNames: names.map(altName) }]);
      leaf.sign(own.privateKey, forge.md.sha256.create());
      return { cert: forge.pki.certificateToPem(leaf), key };
    },
  };
}

/** The names of a platform process on this machine: its host is `localhost`, and peers know it by its URI. */
export const processNames = (name: string): CertificateOptions => ({
  names: ['localhost', `spiffe://pairwise/${name}`],
});

let version = 0;

/**
 * Writes files the way Kubernetes mounts them: links into a versioned folder that are switched all at once. Returns
 * their paths in the given order.
 */
export function mount(folder: string, files: Readonly<Record<string, string>>): string[] {
  const data = join(folder, `..version-${(version += 1)}`);
  mkdirSync(data, { recursive: true });
  for (const [name, text] of Object.entries(files)) writeFileSync(join(data, name), text);
  const link = join(folder, `..link-${version}`);
  symlinkSync(data, link);
  renameSync(link, join(folder, '..data'));
  return Object.keys(files).map((name) => {
    const path = join(folder, name);
    try {
      symlinkSync(join('..data', name), path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    return path;
  });
}

/** Mounts the TLS files of a process. */
export function mountTls(folder: string, { cert, key }: Issued, { cert: ca }: Pick<Authority, 'cert'>) {
  const [certFile, keyFile, caFile] = mount(folder, { 'tls.crt': cert, 'tls.key': key, 'ca.crt': ca });
  return { certFile: certFile!, keyFile: keyFile!, caFile: caFile! };
}

/** Makes an entry of an access file. */
export const accessEntry = (name: string, token: string, roles: Record<string, string>) => ({
  name,
  sha256: createHash('sha256').update(token).digest('hex'),
  roles,
});
