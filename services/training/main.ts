import { callers } from '@pairwise/config';
import { migrate, openDatabase, openRates } from '@pairwise/database';
import { startDurable, workersOf } from '@pairwise/durable';
import { numericsProfile, parseDevice } from '@pairwise/ort';
import { diagnosticsService, serverAccess, startServer, versionIn } from '@pairwise/rpc';
import { logCrashes, probe, untilStopped } from '@pairwise/lifecycle';
import { startTelemetry } from '@pairwise/telemetry';
import { engineVersion } from '@pairwise/training';
import { readConfig } from './config.ts';
import { migrations } from './migrations.ts';
import { openPeers } from './peers.ts';
import { trainingService } from './service.ts';
import { openTrainings } from './trainings/trainings.ts';
import { trainWork, trainWorkId } from './work.ts';

logCrashes('training');
const { log, stop: stopTelemetry } = await startTelemetry('training');
const config = readConfig(process.env, probe);
const version = versionIn(new URL('package.json', import.meta.url));
const profile = numericsProfile(parseDevice(config.PAIRWISE_DEVICE), 'float32');
const database = openDatabase({ url: config.DATABASE_URL, schema: 'training' });
await migrate(database, migrations);
const durable = await startDurable({ url: config.DATABASE_URL, schema: database.schema, log });

const server = await startServer({
  ...serverAccess(config, callers.training),
  isAlive: () => durable.isAlive(),
  log,
  services: [
    trainingService({
      database,
      trainings: openTrainings(database),
      peers: openPeers(config, log),
      numericsProfile: profile,
      rates: openRates(database),
      workers: () => workersOf(durable, trainWork),
      enqueue: ({ training: { name }, attempt }) =>
        durable.enqueue(trainWork, trainWorkId(name, attempt), { training: name }),
      cancel: ({ training: { name }, attempt }, tx) => durable.cancel(trainWorkId(name, attempt), tx),
    }),
    diagnosticsService({
      process: 'training',
      version,
      engineVersion,
      numericsProfile: profile,
      database,
      queues: () => durable.queues(),
      log,
    }),
  ],
});
log.info({ address: server.address }, 'the training service is serving');

await untilStopped();
await server.drain();
await durable.stop();
await database.close();
await stopTelemetry();
