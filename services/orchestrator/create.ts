import { randomUUID } from 'node:crypto';
import { CreateRunRequest, Run, RunState, type ModelSource, type RunSpec } from '@pairwise/api';
import { callOf, once, repeated, type Database, type Queries } from '@pairwise/database';
import { PairwiseError } from '@pairwise/errors';
import { errorOf, inField, newId, parseName, type CallOptions } from '@pairwise/rpc';
import { checkStepCount, resolveHyperparameters } from '@pairwise/training';
import type { Peers } from './peers.ts';
import { idOf } from './run.ts';
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
export async function createRun(creation: Creation, request: CreateRunRequest, options: CallOptions): Promise<Run> {
  const { database, runs, peers, enqueue, traceId } = creation;
  const { parent, spec, validateOnly } = request;
  parseName('projects/{project}', parent, 'parent');
  if (spec === undefined) throw new PairwiseError('INVALID_ARGUMENT', 'spec is not set', { field: 'spec' });
  const resolved = resolveSpec(spec);
  const id = newId(request.runId, 'run', 'run_id');
  const call = callOf('CreateRun', CreateRunRequest, request);
  // What the run needed may be gone since then.
  const before = validateOnly ? undefined : await repeated(database, call);
  if (before !== undefined) return runs.get(before);
  await inspect(peers, parent, resolved, options);
  const run = newRun(`${parent}/runs/${id}`, spec, resolved, traceId());
  if (validateOnly) {
    if (!(await runs.isFree(run.name))) throw taken(run);
    return run;
  }
  const name = await once(database, call, async (tx) => {
    if (!(await runs.create(run, parent, tx))) throw taken(run);
    await enqueue(run, tx);
    return run.name;
  });
  return runs.get(name);
}

function taken(run: Run): PairwiseError {
  const { name } = run;
  const message = `run_id: '${idOf(run)}' exists or has existed; names are never reused, choose another`;
  return new PairwiseError('ALREADY_EXISTS', message, { field: 'run_id', metadata: { name } });
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
async function inspect(peers: Peers, parent: string, spec: RunSpec, options: CallOptions): Promise<void> {
  const version = (field: string, name: string) => inField(field, peers.dataset.getDatasetVersion({ name }, options));
  const { version: pairs } = await version('spec.dataset_version', spec.datasetVersion);
  // Of these pairs some may be left out or held out, which makes no more steps.
  checkStepCount(pairs!.pairCount, resolveHyperparameters(spec.training!, 'spec.training'), 'spec.training');
  if (spec.evaluation?.$case === 'evalDatasetVersion') {
    await version('spec.eval_dataset_version', spec.evaluation.value);
  }
  await inField('spec.model', inspectModel(peers, parent, spec.model, options));
}

async function inspectModel(
  { model: models }: Peers,
  parent: string,
  model: ModelSource | undefined,
  options: CallOptions,
): Promise<void> {
  if (model?.source?.$case === 'model') {
    await models.getModel({ name: model.source.value }, options);
    return;
  }
  const { obstacles } = await models.inspectModel({ parent, source: model }, options);
  if (obstacles[0] !== undefined) throw errorOf(obstacles[0]);
}
