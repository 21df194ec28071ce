import { migrate, openDatabase, openRates } from '@pairwise/database';
import { startDurable, workersOf } from '@pairwise/durable';
import { deviceMemoryBytes, numericsProfile, parseDevice } from '@pairwise/ort';
import { startHealth, versionIn } from '@pairwise/rpc';
import { openBlobStore } from '@pairwise/store';
import { logCrashes, probe, untilStopped } from '@pairwise/lifecycle';
import { startTelemetry } from '@pairwise/telemetry';
import { engineVersion } from '@pairwise/training';
import { readWorkerConfig } from './config.ts';
import { migrations } from './migrations.ts';
import { openPeers } from './peers.ts';
import { openTrainingPairs } from './train/inputs.ts';
import { measurePeak } from './train/peak.ts';
import { openPolicies } from './train/policy.ts';
import { runTraining } from './train/train.ts';
import { openTrainings } from './trainings/trainings.ts';
import { trainWork } from './work.ts';

logCrashes('training-worker');
const { log, stop: stopTelemetry } = await startTelemetry('training-worker');
const config = readWorkerConfig(process.env, probe);
const database = openDatabase({ url: config.DATABASE_URL, schema: 'training' });
await migrate(database, migrations);
const blobs = await openBlobStore(config);
const durable = await startDurable({ url: config.DATABASE_URL, schema: database.schema, log });
const trainings = openTrainings(database);
const peers = openPeers(config, log);
const device = parseDevice(config.PAIRWISE_DEVICE);
const policies = openPolicies(blobs, { device, threads: config.PAIRWISE_THREADS });
const profile = numericsProfile(device, 'float32');
const openPairs = openTrainingPairs(blobs);
const availableBytes = deviceMemoryBytes(device);
const peak = measurePeak();
const deps = {
  ...{ blobs, trainings, peers, policies, openPairs, rates: openRates(database), numericsProfile: profile },
  availableBytes,
  workers: () => workersOf(durable, trainWork),
  peak,
};
durable.execute(trainWork, ({ training }, attempt) => runTraining(deps, training, attempt));
// One training at a time: it uses the whole accelerator.
await durable.launch(
  { [trainWork.queue]: 1 },
  {
    version: versionIn(new URL('package.json', import.meta.url)),
    engineVersion,
    device,
    numericsProfile: profile,
    memoryBytes: String(availableBytes ?? 0),
  },
);
const health = await startHealth({ healthAddress: config.PAIRWISE_HEALTH_LISTEN, isAlive: () => durable.isAlive() });
log.info({ device: config.PAIRWISE_DEVICE }, 'the training worker is ready');

await Promise.race([untilStopped(), ...(config.PAIRWISE_EXIT_WHEN_IDLE ? [durable.untilIdle()] : [])]);
health.leave();
await durable.stop();
await policies.close();
await database.close();
await blobs.close();
health.stop();
peak.stop();
await stopTelemetry();
