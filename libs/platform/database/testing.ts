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
 * For specs: a fresh, empty database on an embedded server that the spec file's first call starts (about a second) and
 * that is stopped and removed after its last test. Returns the URL of the database and the server, to be killed or
 * looked into.
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
