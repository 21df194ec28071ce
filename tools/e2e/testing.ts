import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type EmbeddedPostgres, openDatabase } from '@pairwise/database';

/** Makes an authority in `ca.crt` and, signed by it, a certificate for `localhost` in `server.crt` and `server.key`. */
export function makeCertificates(folder: string): void {
  const openssl = (...parameters: string[]) => execFileSync('openssl', parameters, { cwd: folder, stdio: 'ignore' });
  const fresh = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2'];
  openssl(...fresh, '-keyout', 'ca.key', '-out', 'ca.crt', '-subj', '/CN=authority');
  const names = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
  openssl(...fresh, ...names, '-keyout', 'server.key', '-out', 'server.crt', '-CA', 'ca.crt', '-CAkey', 'ca.key');
}

/**
 * Makes a server demand TLS of a new role, which has CREATE on a new database `locked` and no other right: it may enter no
 * other database. Returns its URL, for `localhost`.
 */
export async function lockDown(server: EmbeddedPostgres, folder: string, password: string): Promise<URL> {
  const admin = openDatabase({ url: server.url, schema: 'public' });
  const lines = (text: string) => `select unnest(string_to_array('${text.trim()}', E'\\n'))`;
  for (const name of ['server.crt', 'server.key']) {
    // Written by Postgres itself, whose user must own the key.
    await admin.run(`copy (${lines(readFileSync(join(folder, name), 'utf8'))}) to program 'umask 077; cat > ${name}'`);
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
  url.searchParams.set('sslrootcert', join(folder, 'ca.crt'));
  return url;
}
