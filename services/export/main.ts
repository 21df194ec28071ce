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
import { openPushes } from './pushes.ts';
import { runExport } from './run.ts';
import { runPush } from './runPush.ts';
import { exportService } from './service.ts';
import { exportWork, exportWorkId, pushWork } from './work.ts';

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
const pushes = openPushes(database);
const hub = {
  endpoint: config.HF_ENDPOINT,
  token: config.HF_TOKEN,
  namespaces: config.PAIRWISE_HUB_PUSH_NAMESPACES,
};
durable.execute(pushWork, ({ push }, attempt) => runPush({ blobs, exports, pushes, hub }, push, attempt));
// One export at a time, because merging and quantising use all cores.
await durable.launch({ [exportWork.queue]: 1, [pushWork.queue]: 1 }, { version, engineVersion });

const server = await startServer({
  ...serverAccess(config, callers.export),
  isAlive: () => durable.isAlive(),
  log,
  services: [
    exportService({
      database,
      blobs,
      exports,
      pushes,
      hub,
      peers,
      enqueue: ({ export: { name }, attempt }) =>
        durable.enqueue(exportWork, exportWorkId(name, attempt), { export: name }),
      cancel: ({ export: { name }, attempt }, tx) => durable.cancel(exportWorkId(name, attempt), tx),
      enqueuePush: (name, tx) => durable.enqueue(pushWork, name, { push: name }, tx),
      cancelPush: (name, tx) => durable.cancel(name, tx),
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
