import { randomUUID } from 'node:crypto';
import { CreateDatasetRequest, Dataset, type DeleteDatasetRequest } from '@pairwise/api';
import { once, openDocuments, type Database, type Documents, type Stored } from '@pairwise/database';
import { PairwiseError } from '@pairwise/errors';
import { fingerprintOf, type Recipe } from '@pairwise/fingerprint';
import { newId, parseName } from '@pairwise/rpc';

export const datasetPattern = 'projects/{project}/datasets/{dataset}';

export type Datasets = Documents<Dataset>;

/** The datasets in Postgres. */
export function openDatasets(database: Database): Datasets {
  return openDocuments(database, 'datasets', 'dataset', Dataset);
}

/** The document of a name that came in another field than `name`. Throws NOT_FOUND with that field. */
export async function needIn<T extends object>(documents: Documents<T>, name: string, field: string) {
  const found = await documents.find(name);
  if (found !== undefined) return found;
  throw new PairwiseError('NOT_FOUND', `${field}: there is no '${name}'`, { field, metadata: { name } });
}

/** Creates a dataset; a repeated request returns the one that it made. */
export async function createDataset(
  { database, datasets }: { database: Database; datasets: Datasets },
  request: CreateDatasetRequest,
): Promise<Dataset> {
  const { parent, requestId, validateOnly } = request;
  parseName('projects/{project}', parent, 'parent');
  const id = newId(request.datasetId, 'dataset', 'dataset_id');
  const dataset = Dataset.create({ name: `${parent}/datasets/${id}`, uid: randomUUID(), createTime: new Date() });
  const create = async (tx: Parameters<Parameters<typeof once>[2]>[0]) => {
    if (await datasets.create(dataset.name, parent, dataset, tx)) return dataset.name;
    const message = `dataset_id: '${id}' exists or has existed; names are never reused, choose another`;
    throw new PairwiseError('ALREADY_EXISTS', message, { field: 'dataset_id', metadata: { name: dataset.name } });
  };
  if (validateOnly) return dryRun(database, create, dataset);
  const recipe = CreateDatasetRequest.toJSON({ ...request, requestId: '' }) as Recipe;
  const call = { method: 'CreateDataset', requestId, request: fingerprintOf(recipe) };
  return datasets.get(await once(database, call, create));
}
