import { DeleteModelRequest, Model, ModelState } from '@pairwise/api';
import { callOf, openDocuments, runOnce, type Database, type Documents, type Queries } from '@pairwise/database';
import { parseDigest, type Digest } from '@pairwise/fingerprint';
import { storedFolder } from '@pairwise/model';
import { parseName } from '@pairwise/rpc';
import type { ModelFolder } from '@pairwise/safetensors';
import type { BlobStore } from '@pairwise/store';

export const modelPattern = 'projects/{project}/models/{model}';

/** A model and what only this service knows about it. */
export interface ModelRecord {
  model: Model;
  /** See `OpenedSource`. */
  signature: Digest;
}

/** The models in Postgres. */
export type Models = Documents<ModelRecord>;

export function openModels(database: Database): Models {
  return openDocuments<ModelRecord>(database, 'models', 'model', {
    toJSON: ({ model, signature }) => ({ model: Model.toJSON(model), signature }),
    fromJSON: ({ model, signature }: { model: unknown; signature: Digest }) => ({
      model: Model.fromJSON(model),
      signature,
    }),
  });
}

/** The files of an imported model. */
export function folderOf({ files }: Model, blobs: BlobStore): ModelFolder {
  const stored = files.map((file) => ({ ...file, digest: parseDigest(file.digest) }));
  return storedFolder(stored, blobs);
}

export interface DeleteModelDeps {
  database: Database;
  models: Models;
  /** Cancels the import of a model when the transaction commits. */
  cancel: (name: string, tx: Queries) => Promise<void>;
}

/** Implements `DeleteModel`. A repeated request does nothing. */
export async function deleteModel(
  { database, models, cancel }: DeleteModelDeps,
  request: DeleteModelRequest,
): Promise<void> {
  const { name } = request;
  parseName(modelPattern, name, 'name');
  const cancelImport = async ({ model }: ModelRecord, tx: Queries) => {
    if (model.state === ModelState.IMPORTING) await cancel(name, tx);
  };
  await runOnce(database, callOf('DeleteModel', DeleteModelRequest, request), async (tx) => {
    await models.remove(name, '', cancelImport, tx);
    return name;
  });
}
