import { readEnvironment } from '@pairwise/config';
import { migrateService } from '@pairwise/durable';
import { logCrashes, probe } from '@pairwise/lifecycle';
import { startTelemetry } from '@pairwise/telemetry';
import { migrations } from './migrations.ts';

logCrashes('training-migrate');
const { log, stop: stopTelemetry } = await startTelemetry('training-migrate');
const { DATABASE_URL: url } = readEnvironment(process.env, ['DATABASE_URL'], probe);
await migrateService({ url, schema: 'training', log }, migrations);
await stopTelemetry();
