import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { openDatabase } from '@pairwise/database';
import { testDatabase } from '@pairwise/database/testing';
import { expect, test } from 'vitest';

const services = ['dataset', 'reference', 'training', 'export', 'orchestrator'];

/** Runs a service's migrate.ts to its end; the lines that it writes. */
async function migrateService(service: string, url: string): Promise<object[]> {
  const program = join(import.meta.dirname, '../../services', service, 'migrate.ts');
  const { stdout } = await promisify(execFile)(process.execPath, [program], {
    env: { ...process.env, DATABASE_URL: url },
  });
  return stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as object);
}

test("each service's migrate.ts makes its tables and DBOS's, once, and says so in one line", async () => {
  const { url } = await testDatabase();
  const database = openDatabase({ url, schema: 'public' });
  // Twice each, and all together: two releases of a job may meet.
  const lines = await Promise.all([...services, ...services].map((service) => migrateService(service, url)));
  expect(lines).toMatchObject(
    [...services, ...services].map((schema) => [{ level: 'info', schema, msg: 'the schema is up to date' }]),
  );
  const tables = await database.rows<{ schema: string }>(
    `select schemaname as schema from pg_tables where tablename in ('migrations', 'dbos_migrations', 'executors')`,
  );
  expect(tables.map(({ schema }) => schema).sort()).toEqual(
    services.flatMap((schema) => [schema, `${schema}_durable`, `${schema}_durable`]).sort(),
  );
  await database.close();
});
