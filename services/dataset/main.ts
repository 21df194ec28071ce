import { homedir } from 'node:os';
import { join } from 'node:path';
import { callers } from '@pairwise/config';
import { migrate, openDatabase } from '@pairwise/database';
import { startDurable } from '@pairwise/durable';
import { diagnosticsService, serverAccess, startServer, versionIn } from '@pairwise/rpc';
import { openBlobStore } from '@pairwise/store';
import { logCrashes, probe, untilStopped } from '@pairwise/lifecycle';
import { startTelemetry } from '@pairwise/telemetry';
import { importModel, importModelWork } from './models/importModel.ts';
import { readConfig } from './config.ts';
import { openDatasets } from './pairs/datasets.ts';
import { openEncodings } from './encodings/encodings.ts';
import { openImports } from './pairs/imports.ts';
import { migrations } from './migrations.ts';
import { openModels } from './models/models.ts';
import { modelService } from './models/modelService.ts';
import { quantizeModel } from './models/quantizeModel.ts';
import { quantizeModelWork, quantizeWorkId } from './models/quantizeWork.ts';
import { datasetService } from './service.ts';
import { openStaging } from './pairs/staging.ts';
import { openVersions } from './pairs/versions.ts';

logCrashes('dataset');
const { log, stop: stopTelemetry } = await startTelemetry('dataset');
const config = readConfig(process.env, probe);
const version = versionIn(new URL('package.json', import.meta.url));
const database = openDatabase({ url: config.DATABASE_URL, schema: 'dataset' });
await migrate(database, migrations);
const blobs = await openBlobStore(config);
const durable = await startDurable({ url: config.DATABASE_URL, schema: database.schema, log });
const staging = await openStaging(join(config.PAIRWISE_DATA, 'imports'));
const datasets = openDatasets(database);
const imports = openImports(database, datasets, staging);
await imports.sweep();
const [versions, encodings, models] = [openVersions(database), openEncodings(database), openModels(database)];
const sources = {
  hub: {
    endpoint: config.HF_ENDPOINT,
    token: config.HF_TOKEN,
    home: config.HF_HOME ?? join(homedir(), '.cache', 'huggingface'),
    offline: config.HF_HUB_OFFLINE,
  },
  roots: config.PAIRWISE_MODEL_ROOTS,
};
durable.execute(importModelWork, (input, attempt) => importModel({ blobs, models, sources }, input, attempt));
durable.execute(quantizeModelWork, (input, attempt) => quantizeModel({ blobs, models }, input, attempt));
// Two at a time, so that a local folder does not have to wait for a download.
await durable.launch({ [importModelWork.queue]: 2 }, { version });

const server = await startServer({
  ...serverAccess(config, callers.dataset),
  isAlive: () => durable.isAlive(),
  log,
  services: [
    datasetService({ database, blobs, staging, datasets, imports, versions, encodings, models }),
    modelService({
      database,
      blobs,
      models,
      sources,
      enqueue: (name, { location }, tx) => durable.enqueue(importModelWork, name, { name, location }, tx),
      enqueueQuantization: (input, tx) => durable.enqueue(quantizeModelWork, quantizeWorkId(input), input, tx),
      cancel: (id, tx) => durable.cancel(id, tx),
    }),
    diagnosticsService({ process: 'dataset', version, database, blobs, queues: () => durable.queues(), log }),
  ],
});
log.info({ address: server.address }, 'the dataset service is serving');

await untilStopped();
await server.drain();
await durable.stop();
await database.close();
await blobs.close();
await stopTelemetry();
