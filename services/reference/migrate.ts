import { readEnvironment } from '@pairwise/config';
import { migrate, openDatabase } from '@pairwise/database';
import { migrateDurable } from '@pairwise/durable';
import { logCrashes, probe } from '@pairwise/lifecycle';
import { startTelemetry } from '@pairwise/telemetry';
import { migrations } from './migrations.ts';

logCrashes('reference-migrate');
const { log, stop: stopTelemetry } = await startTelemetry('reference-migrate');
const { DATABASE_URL: url } = readEnvironment(process.env, ['DATABASE_URL'], probe);
const database = openDatabase({ url, schema: 'reference' });
await migrate(database, migrations);
await migrateDurable({ url, schema: database.schema, log });
log.info({ schema: database.schema, migration: migrations.at(-1)?.id }, 'the schema is up to date');
await database.close();
await stopTelemetry();
