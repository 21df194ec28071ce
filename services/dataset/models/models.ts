import { randomUUID } from 'node:crypto';
import { DeleteModelRequest, ImportModelRequest, Model, ModelState } from '@pairwise/api';
import { callOf, once, openDocuments, type Database, type Documents, type Queries } from '@pairwise/database';
import { PairwiseError } from '@pairwise/errors';
import type { Digest } from '@pairwise/fingerprint';
import { newId, parseName } from '@pairwise/rpc';
import { dryRun } from '../dryRun.ts';
import { checkModel, type Described } from './inspect.ts';
import { locationOf, openSource, type OpenedSource, type Outside } from './modelSource.ts';

export const modelPattern = 'projects/{project}/models/{model}';

/** A model with what only this service knows of it. */
export interface ModelRecord {
  model: Model;
  /** Tells the content of its source apart; see `OpenedSource`. */
  signature: Digest;
}

export type Models = Documents<ModelRecord>;

/** The models in Postgres. */
export function openModels(database: Database): Models {
  return openDocuments<ModelRecord>(database, 'models', 'model', {
    toJSON: ({ model, signature }) => ({ model: Model.toJSON(model), signature }),
    fromJSON: ({ model, signature }: { model: unknown; signature: Digest }) => ({
      model: Model.fromJSON(model),
      signature,
    }),
  });
}

/** What importing and deleting work with. */
export interface ModelImporting {
  database: Database;
  models: Models;
  outside: Outside;
  /** Enqueues the import of a model when the transaction is committed. */
  enqueue: (name: string, source: OpenedSource, tx: Queries) => Promise<void>;
  /** Ends the import of a model when the transaction is committed. */
  cancel: (name: string, tx: Queries) => Promise<void>;
}

/** See `ImportModel` in the proto. Everything that settings and headers tell is checked before it returns. */
export async function importModel(
  importing: ModelImporting,
  request: ImportModelRequest,
  signal: AbortSignal,
): Promise<Model> {
  const { database, models, outside } = importing;
  const { parent, validateOnly } = request;
  parseName('projects/{project}', parent, 'parent');
  const id = newId(request.modelId, 'model', 'model_id');
  const source = await openSource(outside, locationOf(request.source));
  const described = await checkModel(source.opened, signal);
  const model = newModel(`${parent}/models/${id}`, request, source, described);
  const create = (tx: Queries) => createUnlessThere(importing, parent, request.modelId !== '', model, source, tx);
  if (validateOnly) {
    await dryRun(database, create);
    return model;
  }
  const call = callOf('ImportModel', ImportModelRequest, request);
  return (await models.get(await once(database, call, create))).model;
}

function newModel(name: string, { source }: ImportModelRequest, { opened }: OpenedSource, described: Described): Model {
  return Model.create({
    name,
    uid: randomUUID(),
    state: ModelState.IMPORTING,
    source,
    repoId: opened.repoId ?? '',
    commit: opened.commit ?? '',
    ...described,
    totalSizeBytes: BigInt(opened.files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)),
    createTime: new Date(),
  });
}

/** Creates a model and begins its import, unless its source is there under a name that will do. Returns the name. */
async function createUnlessThere(
  { models, enqueue }: ModelImporting,
  parent: string,
  named: boolean,
  model: Model,
  source: OpenedSource,
  tx: Queries,
): Promise<string> {
  const { signature } = source;
  // One at a time for a source, so that two calls at once do not import it twice.
  await tx.run('select pg_advisory_xact_lock(hashtext($1))', [`${parent} ${signature}`]);
  const there = await tx.rows<{ name: string }>(
    `select name from models
     where parent = $1 and delete_time is null and document->>'signature' = $2 and document->'model'->>'state' <> $3
     order by create_time`,
    [parent, signature, ModelState.FAILED],
  );
  const same = named ? there.find(({ name }) => name === model.name) : there[0];
  if (same !== undefined) return same.name;
  if (!(await models.create(model.name, parent, { model, signature }, tx))) {
    const message = `model_id: '${model.name}' exists or has existed; names are never reused, choose another`;
    throw new PairwiseError('ALREADY_EXISTS', message, { field: 'model_id', metadata: { name: model.name } });
  }
  await enqueue(model.name, source, tx);
  return model.name;
}

/** Deletes a model and ends its import; a repeated request does nothing. Throws NOT_FOUND. */
export async function deleteModel(
  { database, models, cancel }: ModelImporting,
  request: DeleteModelRequest,
): Promise<void> {
  const { name } = request;
  parseName(modelPattern, name, 'name');
  await once(database, callOf('DeleteModel', DeleteModelRequest, request), async (tx) => {
    await models.remove(name, '', ({ model }) => (model.state === ModelState.IMPORTING ? cancel(name, tx) : none), tx);
    return name;
  });
}

const none = Promise.resolve();
