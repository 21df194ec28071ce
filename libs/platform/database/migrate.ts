import { PairwiseError } from '@pairwise/errors';
import { digestOf } from '@pairwise/fingerprint';
import type { Database } from './database.ts';

/**
 * One step of a schema's history. Ids are applied in the order of the list and never change afterwards. It only adds, so
 * that processes of the version before go on, and start again, beside those of this one.
 */
export interface Migration {
  /** e.g. `0001-datasets`. */
  id: string;
  /** Plain SQL, any number of statements; runs in a transaction with the search path on the schema. */
  sql: string;
}

interface Applied {
  id: string;
  digest: string;
}

/**
 * The migrations that are still to be applied. What a newer version has applied beyond the list does no harm, since
 * migrations only add. Throws WRONG_STATE where the recorded history and the list part.
 */
function pending(schema: string, migrations: readonly Migration[], applied: readonly Applied[]): readonly Migration[] {
  for (const [index, { id, sql }] of migrations.slice(0, applied.length).entries()) {
    const before = applied[index]!;
    if (before.id !== id) {
      throw new PairwiseError(
        'WRONG_STATE',
        `schema ${schema} has migration ${before.id} where this version has ${id}: the versions are not of one line; ` +
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
 * Brings the database's schema up to date, creating it if need be: all missing migrations in one transaction, under an
 * advisory lock, so that processes which start together do not meet. The digest of each is recorded in the table
 * `migrations`. A schema that is newer than the list is left as it is. Throws WRONG_STATE where an applied migration was
 * changed, or another one is in its place.
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
