import { readEnvironment } from '@pairwise/config';
import { migrateService } from '@pairwise/durable';
import { logCrashes, probe } from '@pairwise/lifecycle';
import { startTelemetry } from '@pairwise/telemetry';
import { migrations } from './migrations.ts';

logCrashes('export-migrate');
const { log, stop: stopTelemetry } = await startTelemetry('export-migrate');
const { DATABASE_URL: url } = readEnvironment(process.env, ['DATABASE_URL'], probe);
await migrateService({ url, schema: 'export', log }, migrations);
await stopTelemetry();
