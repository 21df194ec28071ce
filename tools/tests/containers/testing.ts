import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openSecurity } from '@pairwise/rpc';
import { accessEntry, makeAuthority } from '@pairwise/rpc/testing';
import { type Collector, startCollector } from '@pairwise/telemetry/testing';
import { type GenericContainer, Network, type StartedTestContainer, Wait } from 'testcontainers';
import { freePorts } from 'pairwise/up/ports';
import { clientsOf, userOf, type Clients, type PlatformUser, type ServiceName } from '@pairwise/tool-e2e/platform';
import { nodeImage } from '@pairwise/tool-images/nodeImage';
import { backendEnvironment, secret, startPostgres, startStore } from './backends.ts';
import { Confined, here, ports, secretsFolder, serviceEnvironment } from './serviceContainer.ts';

/** Folder in which the containers find the models of a test. */
const models = '/models';

interface WrittenSecrets {
  /** Local folder with the secrets of a process. `host` is its name on the network. */
  of(process: string, host: string): string;
}

/** Writes certificates from a new authority, and the access file, into one folder per process below `folder`. */
function writeSecrets(folder: string): WrittenSecrets {
  const authority = makeAuthority();
  const access = JSON.stringify([
    accessEntry('tests', secret.adminToken, { '*': 'admin' }),
    accessEntry('reader', secret.readerToken, { 'projects/default': 'reader' }),
  ]);
  return {
    of(process, host) {
      const own = join(folder, process);
      mkdirSync(own, { recursive: true });
      const { cert, key } = authority.issue({ names: [host, '127.0.0.1', `spiffe://pairwise/${process}`] });
      const files = { 'tls.crt': cert, 'tls.key': key, 'ca.crt': authority.cert, 'access.json': access };
      for (const [name, text] of Object.entries(files)) writeFileSync(join(own, name), text);
      return own;
    },
  };
}

type BindMount = Parameters<GenericContainer['withBindMounts']>[0][number];

/** Credentials of a client: a token, the certificate of a process, or nothing. */
interface Credentials {
  token?: string;
  certificateOf?: string;
}

interface RunningContainers extends Clients, PlatformUser {
  /** Opens clients with other credentials. The caller closes them. */
  clientsWith(credentials: Credentials): Clients;
  collector: Collector;
  /** Folder of the models, as the services see it. */
  models: string;
  postgres: StartedTestContainer;
  services: Record<ServiceName, StartedTestContainer>;
  workers: Record<'reference' | 'training', StartedTestContainer>;
  /** Starts another container of a service, on the first or second of its ports on this machine. */
  startService(service: ServiceName, which?: 0 | 1): Promise<StartedTestContainer>;
  startWorker(service: 'reference' | 'training'): Promise<StartedTestContainer>;
}

export interface ContainerPlatform extends RunningContainers {
  /** Output of the containers so far. */
  logs: string[];
  stop(): Promise<void>;
}

/**
 * Starts the platform from the images of `npm run images` with this tag: Postgres, an S3 store, five services and two workers
 * on their own network, with TLS everywhere. The clients call from outside. Models are read from `modelFolder`.
 */
export async function startContainers(modelFolder: string, tag: string): Promise<ContainerPlatform> {
  const logs: string[] = [];
  const undo = new AsyncDisposableStack();
  try {
    return { ...(await launch(modelFolder, tag, logs, undo)), logs, stop: () => undo.disposeAsync() };
  } catch (error) {
    await undo.disposeAsync();
    throw new Error(`the containers do not start; their last output:\n${logs.slice(-20).join('')}`, { cause: error });
  }
}

/** Starts everything. `undo` stops it, and `logs` receives the output of the containers. */
async function launch(
  modelFolder: string,
  tag: string,
  logs: string[],
  undo: AsyncDisposableStack,
): Promise<RunningContainers> {
  const written = writeSecrets(join(modelFolder, 'tls'));
  const { name: base } = await nodeImage(() => undefined);
  const collector = await startCollector('0.0.0.0', here);
  undo.defer(() => collector.stop());
  const network = await new Network().start();
  undo.defer(async () => {
    await network.stop();
  });
  const started: StartedTestContainer[] = [];
  undo.defer(async () => {
    await Promise.all(started.map((one) => one.stop()));
  });
  const keep = (container: StartedTestContainer) => {
    started.push(container);
    return container;
  };

  const environment = { ...serviceEnvironment, ...backendEnvironment, ...collector.environment };

  /** A container of a service's image. `name` is its name on the network and in the logs. */
  const container = (service: ServiceName, name: string, mounts: BindMount[] = []) =>
    new Confined(`pairwise/${service}:${tag}`)
      .withNetwork(network)
      .withNetworkAliases(name)
      .withExtraHosts([{ host: here, ipAddress: 'host-gateway' }])
      .withEnvironment(environment)
      .withBindMounts([{ source: written.of(name, name), target: secretsFolder, mode: 'ro' }, ...mounts])
      .withLogConsumer((lines) => lines.on('data', (line: Buffer) => logs.push(`${name}: ${line.toString('utf8')}`)));

  /** Two ports on this machine for each service, so that a second container can take over from the first. */
  const outside = Object.fromEntries(
    await Promise.all(Object.keys(ports).map(async (name) => [name, await freePorts(2, 0)] as const)),
  ) as Record<ServiceName, number[]>;

  async function startService(service: ServiceName, which: 0 | 1 = 0): Promise<StartedTestContainer> {
    return keep(
      await container(
        service,
        service,
        service === 'dataset' ? [{ source: modelFolder, target: models, mode: 'ro' }] : [],
      )
        .withEnvironment({ PAIRWISE_LISTEN: `0.0.0.0:${ports[service]}` })
        .withEnvironment(service === 'dataset' ? { PAIRWISE_MODEL_ROOTS: models } : {})
        .withExposedPorts({ container: ports[service], host: outside[service][which]! })
        .withWaitStrategy(Wait.forLogMessage(/is serving/))
        .start(),
    );
  }

  async function startWorker(service: 'reference' | 'training'): Promise<StartedTestContainer> {
    return keep(
      await container(service, `${service}-worker`)
        .withCommand(['worker.ts'])
        .withWaitStrategy(Wait.forLogMessage(/worker is ready/))
        .start(),
    );
  }

  const postgres = keep(await startPostgres(base, network));
  keep(await startStore(base, network));
  const services = {} as Record<ServiceName, StartedTestContainer>;
  await Promise.all(
    (Object.keys(ports) as ServiceName[]).map(async (service) => (services[service] = await startService(service))),
  );
  const workers = {
    reference: await startWorker('reference'),
    training: await startWorker('training'),
  };
  function clientsWith({ token, certificateOf }: Credentials): Clients {
    const own = written.of(certificateOf ?? 'outside', 'outside');
    const caFile = join(own, 'ca.crt');
    const shown = { certFile: join(own, 'tls.crt'), keyFile: join(own, 'tls.key') };
    const tokenFile = join(own, 'token');
    if (token !== undefined) writeFileSync(tokenFile, token);
    const security = openSecurity(
      { tls: { caFile, ...(certificateOf && shown) }, tokenFile: token && tokenFile },
      { error: (_, message) => logs.push(`tests: ${message}`) },
    );
    return clientsOf((service) => ({
      security,
      address: `ipv4:${outside[service].map((port) => `127.0.0.1:${port}`).join(',')}`,
    }));
  }
  const clients = clientsWith({ token: secret.adminToken });
  undo.defer(() => {
    for (const client of Object.values(clients)) client.close();
  });

  return {
    ...clients,
    ...userOf(clients),
    clientsWith,
    collector,
    models,
    postgres,
    services,
    workers,
    startService,
    startWorker,
  };
}
