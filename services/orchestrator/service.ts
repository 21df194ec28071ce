import {
  CancelRunRequest,
  DeleteRunRequest,
  MetricPoint,
  OrchestratorServiceService,
  RetryRunRequest,
  Run,
  RunEvent,
  RunState,
} from '@pairwise/api';
import { callOf, runOnce, type Queries } from '@pairwise/database';
import { PairwiseError } from '@pairwise/errors';
import { byName, enumName, hasEnded, inField, parseName, readPage, service, type Service } from '@pairwise/rpc';
import { createRun, estimateSpec, type CreateDeps } from './create.ts';
import { idOf, parentOf, pendingStages } from './run.ts';
import type { LogEntry } from './runLog.ts';
import { changed, unchanged, type Alteration, type Runs } from './runs.ts';
import { serverInfo } from './serverInfo.ts';
import { watchRun } from './watch.ts';

export interface OrchestratorDeps extends CreateDeps {
  /** Cancels the work of a run's attempt, as part of the transaction. */
  cancel: (run: Run, tx: Queries) => Promise<void>;
}

const pattern = 'projects/{project}/runs/{run}';

/** OrchestratorService; `proto/pairwise/v1/orchestrator.proto` documents each method. */
export function orchestratorService(deps: OrchestratorDeps): Service {
  const { runs } = deps;
  return service(OrchestratorServiceService, {
    createRun: (request, context) => createRun(deps, request, context),
    estimateRun: async (request, context) => ({ estimate: await estimateSpec(deps, request, context) }),
    getRun: async ({ name }) => ({ run: await runs.get(named(name)) }),
    listRuns: async (request) => {
      parseName('projects/{project}', request.parent, 'parent');
      const page = await readPage(
        request,
        byName('runs', Run, (limit, after) => runs.list(request.parent, limit, after)),
      );
      return { runs: page.items, nextPageToken: page.nextPageToken };
    },
    cancelRun: async (request) => ({ run: await cancelRun(deps, request) }),
    retryRun: async (request) => ({ run: await retryRun(deps, request) }),
    deleteRun: async (request) => {
      await deleteRun(deps, request);
      return {};
    },
    watchRun: ({ name, resumeToken }, { signal }) => watchRun(runs, named(name), resumeToken, signal),
    listRunEvents: async (request) => {
      const page = await readLog(runs, request, 'event');
      return { events: page.items as RunEvent[], nextPageToken: page.nextPageToken };
    },
    listRunMetrics: async (request) => {
      const page = await readLog(runs, request, 'metrics');
      return { points: page.items as MetricPoint[], nextPageToken: page.nextPageToken };
    },
    getServerInfo: () => Promise.resolve(serverInfo()),
  });
}

function named(name: string): string {
  parseName(pattern, name, 'name');
  return name;
}

async function cancelRun({ database, runs, cancel }: OrchestratorDeps, request: CancelRunRequest): Promise<Run> {
  const name = named(request.name);
  const stop: Alteration = async (run, tx) => {
    if (hasEnded(RunState, run) || run.state === RunState.CANCELLING) return unchanged;
    run.state = RunState.CANCELLING;
    await cancel(run, tx);
    return changed({ type: 'run.cancelling', message: 'The run is being cancelled.' });
  };
  await runOnce(database, callOf('CancelRun', CancelRunRequest, request), async (tx) => {
    return (await runs.change(name, stop, tx)).name;
  });
  return runs.get(name);
}

async function retryRun(deps: OrchestratorDeps, request: RetryRunRequest): Promise<Run> {
  const { database, runs, enqueue, traceId } = deps;
  const name = named(request.name);
  const again: Alteration = async (run, tx) => {
    if (run.state !== RunState.FAILED && run.state !== RunState.CANCELLED) {
      const state = enumName(RunState, run.state).toLowerCase();
      const message = `name: '${name}' is ${state}; only a failed or cancelled run can be retried`;
      throw new PairwiseError('WRONG_STATE', message, { field: 'name' });
    }
    run.state = RunState.QUEUED;
    run.stages = pendingStages(run.stages);
    run.error = undefined;
    run.endTime = undefined;
    run.attempt += 1;
    run.traceId = traceId();
    await enqueue(run, tx);
    return changed({ type: 'run.retried', message: `Attempt ${run.attempt} started.` });
  };
  await runOnce(database, callOf('RetryRun', RetryRunRequest, request), async (tx) => {
    return (await runs.change(name, again, tx)).name;
  });
  return runs.get(name);
}

async function deleteRun({ database, runs, peers }: OrchestratorDeps, request: DeleteRunRequest): Promise<void> {
  const name = named(request.name);
  // What belongs to the run is deleted while its row is locked, so that no retry can use it in between, and before the run,
  // so that an interrupted call can be repeated.
  const removeBelongings = async (run: Run) => {
    if (!hasEnded(RunState, run)) {
      throw new PairwiseError('WRONG_STATE', `name: '${name}' has not ended; cancel it first`, { field: 'name' });
    }
    const [parent, id] = [parentOf(run), idOf(run)];
    await ifPossible(() => peers.export.deleteExport({ name: `${parent}/exports/${id}`, requestId: '' }));
    await ifPossible(() => peers.training.deleteTraining({ name: `${parent}/trainings/${id}`, requestId: '' }));
  };
  await runOnce(database, callOf('DeleteRun', DeleteRunRequest, request), async (tx) => {
    await runs.remove(name, request.etag, removeBelongings, tx);
    return name;
  });
}

/**
 * Deletes a resource that may not exist: the run may have ended before the stage that creates it, or an earlier deletion
 * may have been interrupted. One that could not be stopped when the run ended, and is still active, is left to its service.
 */
async function ifPossible(remove: () => Promise<unknown>): Promise<void> {
  try {
    await remove();
  } catch (error) {
    if (!(error instanceof PairwiseError) || !['NOT_FOUND', 'WRONG_STATE'].includes(error.reason)) throw error;
  }
}

async function readLog(
  runs: Runs,
  request: { parent: string; pageSize: number; pageToken: string },
  kind: 'event' | 'metrics',
) {
  parseName(pattern, request.parent, 'parent');
  await inField('parent', runs.get(request.parent));
  const page = await readPage<LogEntry>(request, {
    name: kind,
    read: (limit, after) => runs.log(request.parent, kind, limit, BigInt(after)),
    keyOf: ({ sequence }) => String(sequence),
    encode: ({ payload }) =>
      payload.$case === 'event' ? RunEvent.encode(payload.value) : MetricPoint.encode(payload.value),
  });
  return { ...page, items: page.items.map(({ payload }) => payload.value) };
}
