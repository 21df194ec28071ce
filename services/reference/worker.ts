import { migrate, openDatabase, openRates } from '@pairwise/database';
import { startDurable } from '@pairwise/durable';
import { deviceMemoryBytes, numericsProfile, parseDevice } from '@pairwise/ort';
import { startHealth, versionIn } from '@pairwise/rpc';
import { openBlobStore } from '@pairwise/store';
import { logCrashes, probe, untilStopped } from '@pairwise/lifecycle';
import { startTelemetry } from '@pairwise/telemetry';
import { engineVersion } from '@pairwise/training';
import { compute } from './compute.ts';
import { readWorkerConfig } from './config.ts';
import { openCoverages } from './coverages.ts';
import { openLogps } from './logps.ts';
import { migrations } from './migrations.ts';
import { openReferenceModel } from './referenceModel.ts';
import { computeWork } from './work.ts';

logCrashes('reference-worker');
const { log, stop: stopTelemetry } = await startTelemetry('reference-worker');
const config = readWorkerConfig(process.env, probe);
const database = openDatabase({ url: config.DATABASE_URL, schema: 'reference' });
await migrate(database, migrations);
const blobs = await openBlobStore(config);
const durable = await startDurable({ url: config.DATABASE_URL, schema: database.schema, log });
const coverages = openCoverages(database);
const logps = openLogps(database, blobs);
const device = parseDevice(config.PAIRWISE_DEVICE);
const reference = openReferenceModel(blobs, { device, threads: config.PAIRWISE_THREADS });
const profile = numericsProfile(device, 'float32');
const rates = openRates(database);
const availableBytes = deviceMemoryBytes(device);
const deps = { blobs, coverages, logps, reference, rates, numericsProfile: profile, availableBytes, log };
durable.execute(computeWork, (input, attempt) => compute(deps, input, attempt));
// One unit at a time: each uses the whole accelerator.
await durable.launch(
  { [computeWork.queue]: 1 },
  {
    version: versionIn(new URL('package.json', import.meta.url)),
    engineVersion,
    device,
    numericsProfile: profile,
    memoryBytes: String(availableBytes ?? 0),
  },
);
const health = await startHealth({ healthAddress: config.PAIRWISE_HEALTH_LISTEN, isAlive: () => durable.isAlive() });
log.info({ device: config.PAIRWISE_DEVICE }, 'the reference worker is ready');

await untilStopped();
health.leave();
await durable.stop();
await reference.close();
await database.close();
await blobs.close();
health.stop();
await stopTelemetry();
