import { baseQuantizationToJSON, DeleteModelRequest, Model, ModelState, QuantizationState } from '@pairwise/api';
import { callOf, openDocuments, runOnce, type Database, type Documents, type Queries } from '@pairwise/database';
import { PairwiseError } from '@pairwise/errors';
import { parseDigest, type Digest } from '@pairwise/fingerprint';
import { storedFolder } from '@pairwise/model';
import { parseName } from '@pairwise/rpc';
import type { ModelFolder } from '@pairwise/safetensors';
import type { BlobStore } from '@pairwise/store';
import { quantizeWorkId } from './quantizeWork.ts';

export const modelPattern = 'projects/{project}/models/{model}';

/** A model and what only this service knows about it. */
export interface ModelRecord {
  model: Model;
  /** See `OpenedSource`. */
  signature: Digest;
  /** How many times quantising was started, by type. */
  quantizationAttempts: Record<string, number>;
}

interface RecordJson {
  model: unknown;
  signature: Digest;
  /** Models that were imported before there were quantisations have none. */
  quantizationAttempts?: Record<string, number>;
}

/** The models in Postgres. */
export type Models = Documents<ModelRecord>;

export function openModels(database: Database): Models {
  return openDocuments<ModelRecord>(database, 'models', 'model', {
    toJSON: ({ model, signature, quantizationAttempts }): RecordJson => ({
      model: Model.toJSON(model),
      signature,
      quantizationAttempts,
    }),
    fromJSON: ({ model, signature, quantizationAttempts = {} }: RecordJson) => ({
      model: Model.fromJSON(model),
      signature,
      quantizationAttempts,
    }),
  });
}

/** Like `models.change`, but does nothing if the model was deleted. */
export async function changeUnlessDeleted(
  models: Models,
  name: string,
  alter: Parameters<Models['change']>[1],
): Promise<void> {
  try {
    await models.change(name, alter);
  } catch (error) {
    if (!(error instanceof PairwiseError) || error.reason !== 'NOT_FOUND') throw error;
  }
}

/** The files of an imported model. */
export function folderOf({ files }: Model, blobs: BlobStore): ModelFolder {
  const stored = files.map((file) => ({ ...file, digest: parseDigest(file.digest) }));
  return storedFolder(stored, blobs);
}

export interface DeleteModelDeps {
  database: Database;
  models: Models;
  /** Cancels the work with this id when the transaction commits. */
  cancel: (id: string, tx: Queries) => Promise<void>;
}

/** Implements `DeleteModel`. A repeated request does nothing. */
export async function deleteModel(
  { database, models, cancel }: DeleteModelDeps,
  request: DeleteModelRequest,
): Promise<void> {
  const { name } = request;
  parseName(modelPattern, name, 'name');
  const cancelWork = async ({ model, quantizationAttempts }: ModelRecord, tx: Queries) => {
    if (model.state === ModelState.IMPORTING) await cancel(name, tx);
    for (const { type, state } of model.quantizations) {
      if (state !== QuantizationState.RUNNING) continue;
      const json = baseQuantizationToJSON(type);
      await cancel(quantizeWorkId({ name, type: json, attempt: quantizationAttempts[json]! }), tx);
    }
  };
  await runOnce(database, callOf('DeleteModel', DeleteModelRequest, request), async (tx) => {
    await models.remove(name, '', cancelWork, tx);
    return name;
  });
}
