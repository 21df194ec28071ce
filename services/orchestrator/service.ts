import {
  DeleteRunRequest,
  OrchestratorServiceService,
  RetryRunRequest,
  RunState,
  type MetricPoint,
  type Run,
  type RunEvent,
} from '@pairwise/api';
import { callOf, once, type Queries } from '@pairwise/database';
import { PairwiseError } from '@pairwise/errors';
import { parseName, readPage, service, type Service } from '@pairwise/rpc';
import { createRun, type Creation } from './create.ts';
import { hasEnded, pendingStages, type LogEntry, type Runs } from './runs.ts';
import { idOf, parentOf } from './run.ts';
import { serverInfo } from './serverInfo.ts';
import { watchRun } from './watch.ts';

/** What the handlers work with. */
export interface OrchestratorParts extends Creation {
  /** Asks for the work of a run's attempt to be cancelled when the transaction is committed. */
  cancel: (run: Run, tx: Queries) => Promise<void>;
}

const pattern = 'projects/{project}/runs/{run}';

/** OrchestratorService; `proto/pairwise/v1/orchestrator.proto` documents each method. */
export function orchestratorService(parts: OrchestratorParts): Service {
  const { runs } = parts;
  return service(OrchestratorServiceService, {
    createRun: async (request, context) => ({ run: await createRun(parts, request, context) }),
    getRun: async ({ name }) => ({ run: await runs.get(named(name)) }),
    listRuns: async (request) => {
      parseName('projects/{project}', request.parent, 'parent');
      const page = await readPage(request, (limit, offset) => runs.list(request.parent, limit, offset));
      return { runs: page.items, nextPageToken: page.nextPageToken };
    },
    cancelRun: async ({ name }) => ({ run: await cancelRun(parts, named(name)) }),
    retryRun: async (request) => ({ run: await retryRun(parts, request) }),
    deleteRun: async (request) => {
      await deleteRun(parts, request);
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

function cancelRun({ runs, cancel }: OrchestratorParts, name: string): Promise<Run> {
  return runs.change(name, async (run, tx) => {
    if (hasEnded(run) || run.state === RunState.CANCELLING) return undefined;
    run.state = RunState.CANCELLING;
    await cancel(run, tx);
    return [{ type: 'run.cancelling', message: 'The run is being cancelled.' }];
  });
}

async function retryRun(parts: OrchestratorParts, request: RetryRunRequest): Promise<Run> {
  const { database, runs, enqueue, traceId } = parts;
  const name = named(request.name);
  const again = async (run: Run, tx: Queries) => {
    if (run.state !== RunState.FAILED && run.state !== RunState.CANCELLED) {
      const state = run.state.replace('RUN_STATE_', '').toLowerCase();
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
    return [{ type: 'run.retried', message: `Attempt ${run.attempt} began.` }];
  };
  await once(database, callOf('RetryRun', RetryRunRequest, request), async (tx) => {
    return (await runs.change(name, again, tx)).name;
  });
  return runs.get(name);
}

async function deleteRun({ database, runs, peers }: OrchestratorParts, request: DeleteRunRequest): Promise<void> {
  const name = named(request.name);
  // What belongs to the run goes while its row is locked, so that no retry takes it up again in between, and goes first,
  // so that a call which is cut short can be repeated.
  const removeBelongings = async (run: Run) => {
    if (!hasEnded(run)) {
      throw new PairwiseError('WRONG_STATE', `name: '${name}' has not ended; cancel it first`, { field: 'name' });
    }
    const [parent, id] = [parentOf(run), idOf(run)];
    await ifPossible(() => peers.export.deleteExport({ name: `${parent}/exports/${id}` }));
    await ifPossible(() => peers.training.deleteTraining({ name: `${parent}/trainings/${id}` }));
  };
  await once(database, callOf('DeleteRun', DeleteRunRequest, request), async (tx) => {
    await runs.remove(name, request.etag, removeBelongings, tx);
    return name;
  });
}

/**
 * A run may have ended before it came to a stage, or an earlier deletion have got that far. What could not be stopped when
 * the run ended, and still goes on, is left to its service.
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
  await runs.get(request.parent);
  const page = await readPage(request, (limit, offset) => runs.log(request.parent, kind, limit, offset));
  return { ...page, items: page.items.map(({ payload }: LogEntry) => payload.value) };
}
