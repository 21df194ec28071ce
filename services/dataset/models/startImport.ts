import { randomUUID } from 'node:crypto';
import { ImportModelRequest, Model, ModelState, modelStateToJSON } from '@pairwise/api';
import { callOf, runOnce, type Database, type Queries } from '@pairwise/database';
import { PairwiseError } from '@pairwise/errors';
import { newId, parseName } from '@pairwise/rpc';
import { dryRun } from '../dryRun.ts';
import { checkModel, type CheckedModel } from './inspect.ts';
import type { ModelRecord, Models } from './models.ts';
import { locationOf, openSource, type OpenedSource, type SourceOptions } from './modelSource.ts';

export interface StartImportDeps {
  database: Database;
  models: Models;
  sources: SourceOptions;
  /** Queues the import of a model when the transaction commits. */
  enqueue: (name: string, source: OpenedSource, tx: Queries) => Promise<void>;
}

/** Implements `ImportModel`: checks the settings and the weight headers, then queues the import. */
export async function startImport(
  { database, models, sources, enqueue }: StartImportDeps,
  request: ImportModelRequest,
  signal: AbortSignal,
): Promise<Model> {
  const { parent, validateOnly } = request;
  parseName('projects/{project}', parent, 'parent');
  const name = `${parent}/models/${newId(request.modelId, 'model', 'model_id')}`;
  const source = await openSource(sources, locationOf(request.source));
  const model = newModel(name, request, source, await checkModel(source.opened, signal));
  const record = { model, signature: source.signature, quantizationAttempts: {} };
  const create = async (tx: Queries) => {
    const existing = await findImported(record, request, tx);
    if (existing !== undefined) return existing;
    if (!(await models.create(name, parent, record, tx))) throw nameTaken(name);
    await enqueue(name, source, tx);
    return name;
  };
  if (validateOnly) {
    await dryRun(database, create);
    return model;
  }
  const call = callOf('ImportModel', ImportModelRequest, request);
  return (await models.get(await runOnce(database, call, create))).model;
}

function newModel(
  name: string,
  { source }: ImportModelRequest,
  { opened }: OpenedSource,
  description: CheckedModel,
): Model {
  return Model.create({
    name,
    uid: randomUUID(),
    state: ModelState.IMPORTING,
    source,
    repoId: opened.repoId ?? '',
    commit: opened.commit ?? '',
    ...description,
    totalSizeBytes: BigInt(opened.files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)),
    createTime: new Date(),
  });
}

/**
 * Returns the name of a model with the same content: the oldest, or the one that the request names. The lock keeps other
 * calls from importing the same source until the transaction ends.
 */
async function findImported(
  { model, signature }: ModelRecord,
  { parent, modelId }: ImportModelRequest,
  tx: Queries,
): Promise<string | undefined> {
  await tx.run('select pg_advisory_xact_lock(hashtext($1))', [`${parent} ${signature}`]);
  const found = await tx.rows<{ name: string }>(
    `select name from models
     where parent = $1 and delete_time is null and document->>'signature' = $2 and document->'model'->>'state' <> $3
     order by create_time`,
    [parent, signature, modelStateToJSON(ModelState.FAILED)],
  );
  const names = found.map(({ name }) => name);
  return modelId === '' ? names[0] : names.find((name) => name === model.name);
}

function nameTaken(name: string): PairwiseError {
  const message = `model_id: '${name}' exists or has existed; names are never reused, choose another`;
  return new PairwiseError('ALREADY_EXISTS', message, { field: 'model_id', metadata: { name } });
}
