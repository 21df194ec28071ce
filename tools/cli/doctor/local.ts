import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readEnvironment } from '@pairwise/config';
import { openDatabase } from '@pairwise/database';
import { isLoopback, roundTrip } from '@pairwise/rpc';
import { openBlobStore, storeVariables } from '@pairwise/store';
import { type Check, clockCheck, fail, ok, warn } from './check.ts';

type Variables = Record<string, string | undefined>;

const patienceMs = 3000;
/** The oldest Postgres that the operator guide supports. */
const oldestPostgres = 150_000;

interface DatabaseFacts {
  version: string;
  number: number;
  role: string;
  superuser: boolean;
  createdb: boolean;
  createschema: boolean;
  tls: boolean;
  time: Date;
}

const sql = `
  select current_setting('server_version') as version, current_setting('server_version_num')::int as number,
         rolname as role, rolsuper as superuser, rolcreatedb as createdb,
         has_database_privilege(current_database(), 'CREATE') as createschema,
         coalesce((select ssl from pg_stat_ssl where pid = pg_backend_pid()), false) as tls,
         clock_timestamp() as time
  from pg_roles where rolname = current_user`;

/** Checks from this machine what DATABASE_URL and PAIRWISE_BLOB_URL point to; skips a variable that is not set. */
export async function localChecks(environment: Variables): Promise<Check[]> {
  const isSet = (name: string) => (environment[name] ?? '') !== '';
  const [database, store] = await Promise.all([
    isSet('DATABASE_URL') ? databaseChecks(environment) : [],
    isSet('PAIRWISE_BLOB_URL') ? storeChecks(environment) : [],
  ]);
  return [...database, ...store];
}

async function databaseChecks(environment: Variables): Promise<Check[]> {
  try {
    const { DATABASE_URL: url } = readEnvironment(environment, ['DATABASE_URL']);
    const database = openDatabase({ url, schema: 'public', maxConnections: 1, patienceMs });
    try {
      // Connects first, so that the query below is quick enough to compare clocks.
      await database.row('select 1');
      const began = Date.now();
      const facts = (await database.row<DatabaseFacts>(sql))!;
      return judge(facts, new URL(url), (began + Date.now()) / 2);
    } finally {
      await database.close();
    }
  } catch (error) {
    const remedy = 'check that Postgres is running and reachable from here; correct DATABASE_URL';
    return [fail('here: database', (error as Error).message, remedy)];
  }
}

function judge(facts: DatabaseFacts, url: URL, now: number): Check[] {
  const { version, number, role, superuser, createdb, createschema, tls, time } = facts;
  const excess = [...(superuser ? ['is superuser'] : []), ...(createdb ? ['may create databases'] : [])];
  const isLocal = url.hostname === '' || isLoopback(`${url.hostname}:0`);
  return [
    number < oldestPostgres
      ? warn('here: database', `Postgres ${version}`, 'upgrade Postgres to 15 or later')
      : ok('here: database', `Postgres ${version}`),
    createschema
      ? ok('here: database schemas', `${role} may create schemas`)
      : fail('here: database schemas', `${role} may not create schemas`, 'grant it CREATE on the database'),
    excess.length === 0
      ? ok('here: database role', `${role} is not a superuser and may not create databases`)
      : warn(
          'here: database role',
          `${role} ${excess.join(' and ')}`,
          'use a role whose only privilege is CREATE on the database',
        ),
    tls || isLocal
      ? ok('here: database TLS', tls ? 'in use' : 'not in use, and not needed on one machine')
      : warn('here: database TLS', 'not in use', 'append ?sslmode=verify-full to DATABASE_URL'),
    clockCheck('here: database clock', now - time.getTime(), "the database's"),
  ];
}

async function storeChecks(environment: Variables): Promise<Check[]> {
  const check = 'here: blob store';
  try {
    // Only the blob store matters here, so the data folder can be anywhere.
    const scratch = join(tmpdir(), 'pairwise-doctor');
    const variables = readEnvironment({ PAIRWISE_DATA: scratch, ...environment }, storeVariables);
    const url = variables.PAIRWISE_BLOB_URL!;
    // Checked first, because opening a folder would create it.
    if (url.startsWith('file:') && !existsSync(fileURLToPath(url))) {
      return [
        fail(
          check,
          `the folder ${fileURLToPath(url)} does not exist`,
          'create or mount it, or correct PAIRWISE_BLOB_URL',
        ),
      ];
    }
    const blobs = await openBlobStore(variables);
    try {
      await roundTrip(blobs);
    } finally {
      await blobs.close();
    }
    return [ok(check, 'writes, reads and deletes')];
  } catch (error) {
    return [
      fail(check, (error as Error).message, 'correct PAIRWISE_BLOB_URL, and check that this user may write there'),
    ];
  }
}
