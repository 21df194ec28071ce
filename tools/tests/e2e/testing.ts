import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type EmbeddedPostgres, openDatabase } from '@pairwise/database';
import { makeAuthority } from '@pairwise/rpc/testing';

/**
 * Creates a role that must use TLS. Its only privilege is CREATE on a new database `locked`; it cannot connect to any other.
 * Returns its URL on `localhost`. The server's certificate authority is `ca.crt` in the folder.
 */
export async function lockDown(server: EmbeddedPostgres, folder: string, password: string): Promise<URL> {
  const authority = makeAuthority();
  const caFile = join(folder, 'ca.crt');
  writeFileSync(caFile, authority.cert);
  const { cert, key } = authority.issue({ names: ['localhost'] });
  const admin = openDatabase({ url: server.url, schema: 'public' });
  const lines = (text: string) => `select unnest(string_to_array('${text.replaceAll('\r', '').trim()}', E'\\n'))`;
  for (const [name, pem] of Object.entries({ 'server.crt': cert, 'server.key': key })) {
    // Postgres writes the files, because its user must own the key.
    await admin.run(`copy (${lines(pem)}) to program 'umask 077; cat > ${name}'`);
  }
  await admin.run(
    `copy (select 'hostnossl all plain all reject') to program 'cat - pg_hba.conf > hba && mv hba pg_hba.conf'`,
  );
  await admin.run('alter system set ssl = on');
  await admin.run('select pg_reload_conf()');
  await admin.run(`create role plain login password '${password}' nosuperuser nocreatedb nocreaterole`);
  await admin.run('create database locked');
  for (const database of ['locked', 'pairwise', 'postgres', 'template1']) {
    await admin.run(`revoke all on database ${database} from public`);
  }
  await admin.run('grant connect, create on database locked to plain');
  await admin.close();
  const url = new URL(server.url);
  url.username = 'plain';
  url.password = encodeURIComponent(password);
  url.hostname = 'localhost';
  url.pathname = '/locked';
  url.searchParams.set('sslmode', 'verify-full');
  url.searchParams.set('sslrootcert', caFile);
  return url;
}
