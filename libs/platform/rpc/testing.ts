import { createHash, generateKeyPairSync } from 'node:crypto';
import { mkdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import forge from 'node-forge';

/** A certificate with its key, in PEM. */
export interface Issued {
  cert: string;
  key: string;
}

export interface Subject {
  /** DNS names, IP addresses, and URIs with their scheme. */
  names: readonly string[];
  /** From when and until when, in days from now. Default: yesterday until tomorrow. */
  days?: readonly [number, number];
}

export interface Authority {
  /** Its own certificate. */
  cert: string;
  issue(subject: Subject): Issued;
}

/** In hexadecimal of whole bytes without zeros in front. */
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

/** Makes a certificate authority, as cert-manager would be one in a cluster. */
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

/** The names of a process of the platform on this machine: called as `localhost`, known to its peers by its URI. */
export const processNames = (name: string): Subject => ({ names: ['localhost', `spiffe://pairwise/${name}`] });

let version = 0;

/**
 * Writes files as Kubernetes mounts them: links into a folder of this version, turned around at once. Returns their paths
 * in the order given.
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

/** An entry of an access file. */
export const accessEntry = (name: string, token: string, roles: Record<string, string>) => ({
  name,
  sha256: createHash('sha256').update(token).digest('hex'),
  roles,
});
