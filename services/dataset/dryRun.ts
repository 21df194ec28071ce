import type { Database, Queries } from '@pairwise/database';

/** Runs `work` in a transaction and rolls it back. Throws what `work` throws, which is the purpose of a dry run. */
export async function dryRun(database: Database, work: (tx: Queries) => Promise<unknown>): Promise<void> {
  const rollback = new Error('rolled back');
  await database
    .transaction(async (tx) => {
      await work(tx);
      throw rollback;
    })
    .catch((error: unknown) => {
      if (error !== rollback) throw error;
    });
}
