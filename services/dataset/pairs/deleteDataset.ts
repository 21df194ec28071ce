import { DeleteDatasetRequest } from '@pairwise/api';
import { callOf, runOnce, type Database } from '@pairwise/database';
import { parseName } from '@pairwise/rpc';
import { datasetPattern, type Datasets } from './datasets.ts';
import type { ImportRecord, Imports } from './imports.ts';

/**
 * Implements `DeleteDataset`. Versions and imports are deleted too; encodings stay because runs may use them. A repeated
 * request does nothing.
 */
export async function deleteDataset(
  { database, datasets, imports }: { database: Database; datasets: Datasets; imports: Imports },
  request: DeleteDatasetRequest,
): Promise<void> {
  const { name, etag } = request;
  parseName(datasetPattern, name, 'name');
  let removed: ImportRecord[] = [];
  await runOnce(database, callOf('DeleteDataset', DeleteDatasetRequest, request), async (tx) => {
    const alongside = async () => {
      removed = await imports.removeAll(name, tx);
      await tx.run('update versions set delete_time = now() where parent = $1', [name]);
    };
    await datasets.remove(name, etag, alongside, tx);
    return name;
  });
  await imports.dropFiles(removed);
}
