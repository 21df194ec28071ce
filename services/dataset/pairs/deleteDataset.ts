import { DeleteDatasetRequest } from '@pairwise/api';
import { callOf, once, type Database } from '@pairwise/database';
import { parseName } from '@pairwise/rpc';
import { datasetPattern, type Datasets } from './datasets.ts';
import type { ImportRecord, Imports } from './imports.ts';

/**
 * Deletes a dataset with its versions and imports. Encodings stay, since runs may be using them. A repeated request does
 * nothing. Throws NOT_FOUND, ETAG_MISMATCH.
 */
export async function deleteDataset(
  { database, datasets, imports }: { database: Database; datasets: Datasets; imports: Imports },
  request: DeleteDatasetRequest,
): Promise<void> {
  const { name, etag } = request;
  parseName(datasetPattern, name, 'name');
  let removed: ImportRecord[] = [];
  await once(database, callOf('DeleteDataset', DeleteDatasetRequest, request), async (tx) => {
    const alongside = async () => {
      removed = await imports.removeAll(name, tx);
      await tx.run('update versions set delete_time = now() where parent = $1', [name]);
    };
    await datasets.remove(name, etag, alongside, tx);
    return name;
  });
  await imports.drop(removed);
}
