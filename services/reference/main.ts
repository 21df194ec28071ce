import { callers } from '@pairwise/config';
import { migrate, openDatabase, openRates } from '@pairwise/database';
import { startDurable } from '@pairwise/durable';
import { numericsProfile, parseDevice } from '@pairwise/ort';
import { diagnosticsService, serverAccess, startServer, versionIn } from '@pairwise/rpc';
import { openBlobStore } from '@pairwise/store';
import { logCrashes, probe, untilStopped } from '@pairwise/lifecycle';
import { startTelemetry } from '@pairwise/telemetry';
import { engineVersion } from '@pairwise/training';
import { readConfig } from './config.ts';
import { cover } from './cover.ts';
import { openCoverages } from './coverages.ts';
import { openLogps } from './logps.ts';
import { migrations } from './migrations.ts';
import { openPeers } from './peers.ts';
import { referenceService } from './service.ts';
import { coverWork } from './work.ts';

logCrashes('reference');
const { log, stop: stopTelemetry } = await startTelemetry('reference');
const config = readConfig(process.env, probe);
const version = versionIn(new URL('package.json', import.meta.url));
const profile = numericsProfile(parseDevice(config.PAIRWISE_DEVICE), 'float32');
const database = openDatabase({ url: config.DATABASE_URL, schema: 'reference' });
await migrate(database, migrations);
const blobs = await openBlobStore(config);
const durable = await startDurable({ url: config.DATABASE_URL, schema: database.schema, log });
const coverages = openCoverages(database);
const logps = openLogps(database, blobs);
const rates = openRates(database);
const peers = openPeers(config, log);
const deps = { database, blobs, coverages, logps, peers, rates, durable, numericsProfile: profile };
durable.execute(coverWork, (input, attempt) => cover(deps, input, attempt));
// A coverage mostly waits for its units, so one process executes many.
await durable.launch({ [coverWork.queue]: 20 }, { version, engineVersion });

const server = await startServer({
  ...serverAccess(config, callers.reference),
  isAlive: () => durable.isAlive(),
  log,
  services: [
    referenceService(deps),
    diagnosticsService({
      process: 'reference',
      version,
      engineVersion,
      numericsProfile: profile,
      database,
      blobs,
      queues: () => durable.queues(),
      log,
    }),
  ],
});
log.info({ address: server.address }, 'the reference service is serving');

await untilStopped();
await server.drain();
await durable.stop();
await database.close();
await blobs.close();
await stopTelemetry();
