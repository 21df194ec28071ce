import { randomUUID } from 'node:crypto';
import { CreateRunRequest, Run, RunState, type ModelSource, type RunSpec } from '@pairwise/api';
import { once, type Database, type Queries } from '@pairwise/database';
import { PairwiseError } from '@pairwise/errors';
import { fingerprintOf, type Recipe } from '@pairwise/fingerprint';
import { errorOf, inField, newId, parseName, refuseUnknownFields } from '@pairwise/rpc';
import type { Peers } from './peers.ts';
import { pendingStages, type Runs } from './runs.ts';
import { resolveSpec } from './spec.ts';

/** Where runs are made. */
export interface Creation {
  database: Database;
  runs: Runs;
  peers: Peers;
  /** Enqueues the work of a run's attempt when the transaction is committed. */
  enqueue: (run: Run, tx: Queries) => Promise<void>;
  /** Id of the trace that is active. */
  traceId: () => string;
}

/**
 * Checks a request, resolves its spec and, unless it only validates, stores the run. Everything that can be refused
 * without bringing in weights is refused here. A repeated request returns the run that it made.
 */
export async function createRun(creation: Creation, request: CreateRunRequest): Promise<Run> {
  const { parent, spec } = request;
  parseName('projects/{project}', parent, 'parent');
  if (spec === undefined) throw new PairwiseError('INVALID_ARGUMENT', 'spec is not set', { field: 'spec' });
  refuseUnknownFields(spec, 'spec');
  const resolved = resolveSpec(spec);
  const id = newId(request.runId, 'run', 'run_id');
  await inspect(creation.peers, parent, resolved);
  const run = newRun(`${parent}/runs/${id}`, spec, resolved, creation.traceId());
  if (request.validateOnly) return run;
  const { requestId, ...rest } = request;
  const call = {
    method: 'CreateRun',
    requestId,
    request: fingerprintOf(CreateRunRequest.toJSON({ ...rest, requestId: '' }) as Recipe),
  };
  const name = await once(creation.database, call, async (tx) => {
    if (!(await creation.runs.create(run, parent, tx))) {
      const message = `run_id: '${id}' exists or has existed; names are never reused, choose another`;
      throw new PairwiseError('ALREADY_EXISTS', message, { field: 'run_id' });
    }
    await creation.enqueue(run, tx);
    return run.name;
  });
  return creation.runs.get(name);
}

function newRun(name: string, spec: RunSpec, resolvedSpec: RunSpec, traceId: string): Run {
  const now = new Date();
  return Run.create({
    name,
    uid: randomUUID(),
    state: RunState.QUEUED,
    stages: pendingStages(),
    spec,
    resolvedSpec,
    traceId,
    createTime: now,
    updateTime: now,
    attempt: 1,
  });
}

/** Refuses a spec whose data or model is not there, or whose model cannot be trained. */
async function inspect(peers: Peers, parent: string, spec: RunSpec): Promise<void> {
  const version = (field: string, name: string) => inField(field, peers.dataset.getDatasetVersion({ name }));
  await version('spec.dataset_version', spec.datasetVersion);
  if (spec.evaluation?.$case === 'evalDatasetVersion') {
    await version('spec.eval_dataset_version', spec.evaluation.value);
  }
  await inField('spec.model', inspectModel(peers, parent, spec.model));
}

async function inspectModel({ model: models }: Peers, parent: string, model: ModelSource | undefined): Promise<void> {
  if (model?.source?.$case === 'model') {
    await models.getModel({ name: model.source.value });
    return;
  }
  const { obstacles } = await models.inspectModel({ parent, source: model });
  if (obstacles[0] !== undefined) throw errorOf(obstacles[0]);
}
