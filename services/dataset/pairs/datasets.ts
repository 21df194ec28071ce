import { randomUUID } from 'node:crypto';
import { CreateDatasetRequest, Dataset } from '@pairwise/api';
import { callOf, once, openDocuments, type Database, type Documents, type Queries } from '@pairwise/database';
import { PairwiseError } from '@pairwise/errors';
import { newId, parseName } from '@pairwise/rpc';

export const datasetPattern = 'projects/{project}/datasets/{dataset}';

export type Datasets = Documents<Dataset>;

/** The datasets in Postgres. */
export function openDatasets(database: Database): Datasets {
  return openDocuments(database, 'datasets', 'dataset', Dataset);
}

/** Creates a dataset; a repeated request returns the one that it made. Throws ALREADY_EXISTS. */
export async function createDataset(
  { database, datasets }: { database: Database; datasets: Datasets },
  request: CreateDatasetRequest,
): Promise<Dataset> {
  const { parent, validateOnly } = request;
  parseName('projects/{project}', parent, 'parent');
  const id = newId(request.datasetId, 'dataset', 'dataset_id');
  const dataset = Dataset.create({ name: `${parent}/datasets/${id}`, uid: randomUUID(), createTime: new Date() });
  const create = async (tx: Queries) => {
    if (await datasets.create(dataset.name, parent, dataset, tx)) return dataset.name;
    const message = `dataset_id: '${id}' exists or has existed; names are never reused, choose another`;
    throw new PairwiseError('ALREADY_EXISTS', message, { field: 'dataset_id', metadata: { name: dataset.name } });
  };
  if (validateOnly) {
    await undone(database, create);
    return dataset;
  }
  const call = callOf('CreateDataset', CreateDatasetRequest, request);
  return datasets.get(await once(database, call, create));
}

/** Does something in a transaction and takes it back; for its errors alone. */
export async function undone(database: Database, work: (tx: Queries) => Promise<unknown>): Promise<void> {
  const takeBack = new Error('taken back');
  await database
    .transaction(async (tx) => {
      await work(tx);
      throw takeBack;
    })
    .catch((error: unknown) => {
      if (error !== takeBack) throw error;
    });
}
