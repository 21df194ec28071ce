import { PairwiseError } from '@pairwise/errors';
import { digestOf } from '@pairwise/fingerprint';
import type { Database } from './database.ts';

/**
 * One step in the history of a schema. Migrations are applied in the order of the list, and their ids never change.
 * They only add things, so that processes of the previous version can keep running, and restart, next to those of this
 * one.
 */
export interface Migration {
  /** e.g. `0001-datasets`. */
  id: string;
  /** Plain SQL with any number of statements. It runs in a transaction with the search path set to the schema. */
  sql: string;
}

interface Applied {
  id: string;
  digest: string;
}

/**
 * Returns the migrations that have not been applied. Migrations from a newer version than this are harmless, since they
 * only add things. Throws WRONG_STATE if the recorded history and the list diverge.
 */
function pending(schema: string, migrations: readonly Migration[], applied: readonly Applied[]): readonly Migration[] {
  for (const [index, { id, sql }] of migrations.slice(0, applied.length).entries()) {
    const before = applied[index]!;
    if (before.id !== id) {
      throw new PairwiseError(
        'WRONG_STATE',
        `schema ${schema} has migration ${before.id} where this version has ${id}: the versions do not share a history; ` +
          'run the one that made the database, or name another database in DATABASE_URL',
      );
    }
    if (before.digest !== digestOf(Buffer.from(sql))) {
      throw new PairwiseError(
        'WRONG_STATE',
        `migration ${id} of schema ${schema} was changed after it had been applied; add a new migration instead`,
      );
    }
  }
  return migrations.slice(applied.length);
}

/**
 * Brings the database's schema up to date, and creates it if necessary. Applies all missing migrations in one
 * transaction, under an advisory lock, so that processes that start together do not collide. Records the digest of each
 * in the table `migrations`. Leaves a schema that is newer than the list as it is. Throws WRONG_STATE if an applied
 * migration was changed, or if there is another one in its place.
 */
export async function migrate(database: Database, migrations: readonly Migration[]): Promise<void> {
  const { schema } = database;
  await database.transaction(async (tx) => {
    await tx.run('select pg_advisory_xact_lock(hashtextextended($1, 0))', [`pairwise migrate ${schema}`]);
    await tx.run(`create schema if not exists ${schema}`);
    await tx.run(
      `create table if not exists migrations (
         position integer primary key, id text not null unique, digest text not null,
         applied_time timestamptz not null default now())`,
    );
    const applied = await tx.rows<Applied>('select id, digest from migrations order by position');
    for (const [index, { id, sql }] of pending(schema, migrations, applied).entries()) {
      await tx.run(sql);
      await tx.run('insert into migrations (position, id, digest) values ($1, $2, $3)', [
        applied.length + index,
        id,
        digestOf(Buffer.from(sql)),
      ]);
    }
  });
}
