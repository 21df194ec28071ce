import { GenericContainer } from 'testcontainers';
import type { ServiceName } from '@pairwise/tool-e2e/platform';

// What the containers of all services have in common.

/** Port of each service. */
export const ports: Record<ServiceName, number> = {
  dataset: 7411,
  reference: 7412,
  training: 7413,
  export: 7414,
  orchestrator: 7415,
};

/** Folder in which a container finds its certificate and the access file. */
export const secretsFolder = '/etc/pairwise/tls';

/** Name of this machine inside the containers. */
export const here = 'host.docker.internal';

/** Variables of every service: its certificate, the access file, and the addresses of the others. */
export const serviceEnvironment = {
  PAIRWISE_TLS_CERT: `${secretsFolder}/tls.crt`,
  PAIRWISE_TLS_KEY: `${secretsFolder}/tls.key`,
  PAIRWISE_TLS_CA: `${secretsFolder}/ca.crt`,
  PAIRWISE_ACCESS_FILE: `${secretsFolder}/access.json`,
  ...Object.fromEntries(
    Object.entries(ports).map(([name, port]) => [`PAIRWISE_${name.toUpperCase()}_ADDRESS`, `${name}:${port}`]),
  ),
};

/** The user of the images. */
const user = 65532;

/** A container with the restrictions of a cluster: a read-only root file system, no capabilities, writable volumes only. */
export class Confined extends GenericContainer {
  constructor(image: string) {
    super(image);
    this.hostConfig.ReadonlyRootfs = true;
    this.hostConfig.CapDrop = ['ALL'];
    this.hostConfig.SecurityOpt = ['no-new-privileges'];
    const own = `rw,uid=${user},gid=${user}`;
    this.hostConfig.Tmpfs = { '/tmp': 'rw', '/var/lib/pairwise': own, '/var/cache/pairwise': own };
  }
}
