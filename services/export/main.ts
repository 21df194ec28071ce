import { join } from 'node:path';
import { callers } from '@pairwise/config';
import { migrate, openDatabase } from '@pairwise/database';
import { startDurable } from '@pairwise/durable';
import { diagnosticsService, serverAccess, startServer, versionIn } from '@pairwise/rpc';
import { openBlobStore } from '@pairwise/store';
import { logCrashes, probe, untilStopped } from '@pairwise/lifecycle';
import { startTelemetry } from '@pairwise/telemetry';
import { engineVersion } from '@pairwise/training';
import { readConfig } from './config.ts';
import { openExports } from './exports.ts';
import { migrations } from './migrations.ts';
import { openPeers } from './peers.ts';
import { runExport } from './run.ts';
import { exportService } from './service.ts';
import { exportWork, exportWorkId } from './work.ts';

logCrashes('export');
const { log, stop: stopTelemetry } = await startTelemetry('export');
const config = readConfig(process.env, probe);
const version = versionIn(new URL('package.json', import.meta.url));
const database = openDatabase({ url: config.DATABASE_URL, schema: 'export' });
await migrate(database, migrations);
const blobs = await openBlobStore(config);
const durable = await startDurable({ url: config.DATABASE_URL, schema: database.schema, log });
const exports = openExports(database);
const peers = openPeers(config, log);
const exporterDeps = {
  blobs,
  exports,
  peers,
  log,
  scratch: join(config.PAIRWISE_DATA, 'scratch', 'export'),
  threads: config.PAIRWISE_THREADS,
};
durable.execute(exportWork, ({ export: name }, attempt) => runExport(exporterDeps, name, attempt));
// One at a time, because merging and quantising use all cores.
await durable.launch({ [exportWork.queue]: 1 }, { version, engineVersion });

const server = await startServer({
  ...serverAccess(config, callers.export),
  isAlive: () => durable.isAlive(),
  log,
  services: [
    exportService({
      blobs,
      exports,
      peers,
      enqueue: ({ export: { name }, attempt }) =>
        durable.enqueue(exportWork, exportWorkId(name, attempt), { export: name }),
      cancel: ({ export: { name }, attempt }, tx) => durable.cancel(exportWorkId(name, attempt), tx),
    }),
    diagnosticsService({
      process: 'export',
      version,
      engineVersion,
      database,
      blobs,
      queues: () => durable.queues(),
      log,
    }),
  ],
});
log.info({ address: server.address }, 'the export service is serving');

await untilStopped();
await server.drain();
await durable.stop();
await database.close();
await blobs.close();
await stopTelemetry();
