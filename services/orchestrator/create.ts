import { randomUUID } from 'node:crypto';
import {
  CreateRunRequest,
  ModelState,
  Run,
  RunState,
  type CreateRunResponse,
  type EstimateRunRequest,
  type RunEstimate,
  type InspectModelResponse,
  type RunSpec,
} from '@pairwise/api';
import { callOf, repeated, runOnce, type Database, type Queries } from '@pairwise/database';
import { PairwiseError } from '@pairwise/errors';
import { errorOf, inField, newId, parseName, type CallOptions } from '@pairwise/rpc';
import { checkStepCount } from '@pairwise/training';
import { estimateRun, type CheckedSpec } from './estimate.ts';
import type { Peers } from './peers.ts';
import { idOf, pendingStages } from './run.ts';
import type { Runs } from './runs.ts';
import { checkGgufTargets } from './spec/gguf.ts';
import { modulesOf } from './spec/modules.ts';
import { resolveRunSpec } from './spec/resolve.ts';
import type { ResolvedSpec } from './spec/resolved.ts';

export interface CreateDeps {
  database: Database;
  runs: Runs;
  peers: Peers;
  /** Enqueues the work of a run's attempt, as part of the transaction. */
  enqueue: (run: Run, tx: Queries) => Promise<void>;
  /** The id of the active trace, empty if there is none. */
  traceId: () => string;
}

/**
 * Checks a request, resolves its spec and, unless it only validates, stores the run. Everything that can be checked
 * without importing weights is checked here. A repeated request returns the run that the first one created.
 */
export async function createRun(
  deps: CreateDeps,
  request: CreateRunRequest,
  options: CallOptions,
): Promise<CreateRunResponse> {
  const { database, runs, peers, enqueue, traceId } = deps;
  const { parent, validateOnly } = request;
  const checked = resolveRequest(request);
  const { spec, resolved } = checked;
  const id = newId(request.runId, 'run', 'run_id');
  const call = callOf('CreateRun', CreateRunRequest, request);
  // Before the checks: what the first request needed may be gone by now.
  const before = validateOnly ? undefined : await repeated(database, call);
  if (before !== undefined) return answer(await runs.get(before));
  const inspected = await checkInputs(peers, parent, resolved, options);
  const run = newRun(`${parent}/runs/${id}`, spec, resolved, traceId());
  if (validateOnly) {
    if (!(await runs.isFree(run.name))) throw nameTaken(run);
    return { run, estimate: await estimateRun(peers, parent, checked, inspected, options) };
  }
  const name = await runOnce(database, call, async (tx) => {
    if (!(await runs.create(run, parent, tx))) throw nameTaken(run);
    await enqueue(run, tx);
    return run.name;
  });
  return answer(await runs.get(name));
}

const answer = (run: Run): CreateRunResponse => ({ run, estimate: undefined });

/** Checks and estimates a spec without creating a run. Throws the errors that the API documents. */
export async function estimateSpec(
  { peers }: CreateDeps,
  request: EstimateRunRequest,
  options: CallOptions,
): Promise<RunEstimate> {
  const checked = resolveRequest(request);
  const inspected = await checkInputs(peers, request.parent, checked.resolved, options);
  return estimateRun(peers, request.parent, checked, inspected, options);
}

function resolveRequest({ parent, spec }: Pick<EstimateRunRequest, 'parent' | 'spec'>): CheckedSpec {
  parseName('projects/{project}', parent, 'parent');
  if (spec === undefined) throw new PairwiseError('INVALID_ARGUMENT', 'spec is not set', { field: 'spec' });
  return { spec, resolved: resolveRunSpec(spec) };
}

function nameTaken(run: Run): PairwiseError {
  const { name } = run;
  const message = `run_id: '${idOf(run)}' belongs to a run, or did until it was deleted; choose another id`;
  return new PairwiseError('ALREADY_EXISTS', message, { field: 'run_id', metadata: { name } });
}

function newRun(name: string, spec: RunSpec, resolvedSpec: ResolvedSpec, traceId: string): Run {
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

/**
 * Throws if the data or the model does not exist, or the model cannot be trained. Returns what the model is, or undefined while
 * it is being imported.
 */
async function checkInputs(
  peers: Peers,
  parent: string,
  spec: ResolvedSpec,
  options: CallOptions,
): Promise<InspectModelResponse | undefined> {
  const findVersion = (field: string, name: string) =>
    inField(field, peers.dataset.getDatasetVersion({ name }, options));
  const { version: pairs } = await findVersion('spec.dataset_version', spec.datasetVersion);
  // An upper bound: pairs that are left out or held out only make fewer steps.
  checkStepCount(pairs!.pairCount, spec.training, 'spec.training');
  if (spec.evaluation?.$case === 'evalDatasetVersion') {
    await findVersion('spec.eval_dataset_version', spec.evaluation.value);
  }
  const found = await inField('spec.model', inspect(peers, parent, spec, options));
  if (found === undefined) return undefined;
  checkGgufTargets(spec, found);
  modulesOf(spec.training, found);
  return found;
}

/** Throws if the model cannot be trained. Returns undefined if nothing is known of it yet. */
async function inspect(
  { model: models }: Peers,
  parent: string,
  spec: ResolvedSpec,
  options: CallOptions,
): Promise<InspectModelResponse | undefined> {
  const { source } = spec.model;
  if (source.$case === 'model') {
    const { model } = await models.getModel({ name: source.value }, options);
    if (model!.state !== ModelState.READY) return undefined;
  }
  const found = await models.inspectModel({ parent, source: spec.model }, options);
  if (found.obstacles[0] !== undefined) throw errorOf(found.obstacles[0]);
  return found;
}
