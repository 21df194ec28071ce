import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll } from 'vitest';
import { startEmbeddedPostgres, type EmbeddedPostgres } from './embedded.ts';

let started: Promise<{ server: EmbeddedPostgres; folder: string }> | undefined;

async function start() {
  const folder = mkdtempSync(join(tmpdir(), 'pairwise-postgres-'));
  return { server: await startEmbeddedPostgres({ folder, throwaway: true }), folder };
}

afterAll(async () => {
  if (started === undefined) return;
  const { server, folder } = await started;
  started = undefined;
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
});

/**
 * For specs: creates an empty database on an embedded server, which the first call in a spec file starts (about a
 * second) and which is stopped and removed after the file's last test. Returns the URL of the database, and the server.
 */
export async function testDatabase(): Promise<{ url: string; server: EmbeddedPostgres }> {
  started ??= start();
  const { server } = await started;
  const name = `test_${randomBytes(8).toString('hex')}`;
  const client = new pg.Client({ connectionString: server.url });
  await client.connect();
  await client.query(`create database ${name}`);
  await client.end();
  return { url: server.url.replace(/\/pairwise$/, `/${name}`), server };
}
