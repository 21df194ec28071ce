import { randomUUID } from 'node:crypto';
import { CreateDatasetRequest, Dataset } from '@pairwise/api';
import { callOf, openDocuments, runOnce, type Database, type Documents, type Queries } from '@pairwise/database';
import { PairwiseError } from '@pairwise/errors';
import { newId, parseName } from '@pairwise/rpc';
import { dryRun } from '../dryRun.ts';

export const datasetPattern = 'projects/{project}/datasets/{dataset}';

/** The datasets in Postgres. */
export type Datasets = Documents<Dataset>;

export function openDatasets(database: Database): Datasets {
  return openDocuments(database, 'datasets', 'dataset', Dataset);
}

/** Implements `CreateDataset`. A repeated request returns the dataset that the first one created. */
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
    await dryRun(database, create);
    return dataset;
  }
  const call = callOf('CreateDataset', CreateDatasetRequest, request);
  return datasets.get(await runOnce(database, call, create));
}
