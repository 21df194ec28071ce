import {
  DatasetServiceService,
  DatasetVersion,
  ExportServiceService,
  OrchestratorServiceService,
  Run,
  RunOutputs,
  RunSpec,
  RunState,
  StageState,
  Training,
  TrainingServiceService,
  TrainingState,
} from '@pairwise/api';
import { migrate, openDatabase, type Database } from '@pairwise/database';
import { testDatabase } from '@pairwise/database/testing';
import { startDurable, type Durable } from '@pairwise/durable';
import { PairwiseError } from '@pairwise/errors';
import {
  clientSecurity,
  openClient,
  service,
  startServer,
  type CallContext,
  type Client,
  type RunningServer,
} from '@pairwise/rpc';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { migrations } from './migrations.ts';
import { openPeers } from './peers.ts';
import { pendingStages } from './run.ts';
import { openRuns, type Runs } from './runs.ts';
import { orchestratorService } from './service.ts';
import { driveRun, runWork, runWorkId } from './workflow.ts';

// Runs against peers that misbehave in different ways, over real sockets.

const parent = 'projects/default';
let [database, durable, runs] = [] as unknown as [Database, Durable, Runs];
let [peer, server, client] = [] as unknown as [RunningServer, RunningServer, Client<typeof OrchestratorServiceService>];

const never = ({ signal }: CallContext) =>
  new Promise<never>((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });
const refusal = (reason: 'INTERNAL' | 'INVALID_ARGUMENT' | 'PERMISSION_DENIED' | 'UNAVAILABLE') => () =>
  Promise.reject(new PairwiseError(reason, 'the peer says no'));
const inState = (name: string, state: TrainingState) => Promise.resolve({ training: Training.create({ name, state }) });

/** How the training service answers when it starts and cancels a run's training. */
interface Behaviour {
  start?: (context: CallContext) => Promise<never>;
  cancel: (context: CallContext, calls: number) => Promise<unknown>;
}
/** By the run's id. */
const behaviours: Record<string, Behaviour> = {
  healthy: {
    cancel: (_context, calls) => inState('', calls < 3 ? TrainingState.CANCELLING : TrainingState.CANCELLED),
  },
  internal: { cancel: refusal('INTERNAL') },
  invalid: { cancel: refusal('INVALID_ARGUMENT') },
  denied: { cancel: refusal('PERMISSION_DENIED') },
  defect: { cancel: () => Promise.resolve({ training: Training.create({ stepCount: 3e300 }) }) },
  away: { cancel: refusal('UNAVAILABLE') },
  silent: { cancel: never },
  endless: { cancel: () => inState('', TrainingState.CANCELLING) },
  'silent-start': { start: never, cancel: () => inState('', TrainingState.CANCELLED) },
};
const calls = new Map<string, number>();
const started = new Map(Object.keys(behaviours).map((id) => [id, Promise.withResolvers<undefined>()]));
const idOf = (name: string) => name.split('/').at(-1)!;
const deleted: string[] = [];

const training = {
  startTraining: async ({ trainingId }: { trainingId: string }, context: CallContext) => {
    started.get(trainingId)!.resolve(undefined);
    await behaviours[trainingId]!.start?.(context);
    return inState(`${parent}/trainings/${trainingId}`, TrainingState.RUNNING);
  },
  async *watchTraining(_request: object, context: CallContext) {
    yield await never(context);
  },
  cancelTraining: ({ name }: { name: string }, context: CallContext) => {
    calls.set(name, (calls.get(name) ?? 0) + 1);
    return behaviours[idOf(name)]!.cancel(context, calls.get(name)!);
  },
  deleteTraining: ({ name }: { name: string }) => {
    if (!['healthy', 'silent-start'].includes(idOf(name))) {
      return Promise.reject(new PairwiseError('WRONG_STATE', 'name: it has not ended', { field: 'name' }));
    }
    deleted.push(idOf(name));
    return Promise.resolve({});
  },
};
const exporting = {
  deleteExport: () =>
    Promise.reject(new PairwiseError('NOT_FOUND', 'name: there is no such export', { field: 'name' })),
};

/** More pairs than any dataset has. */
const dataset = {
  getDatasetVersion: () => Promise.resolve({ version: DatasetVersion.create({ pairCount: 2 ** 31 - 1 }) }),
};

beforeAll(async () => {
  const { url } = await testDatabase();
  database = openDatabase({ url, schema: 'orchestrator' });
  await migrate(database, migrations);
  const silent = () => undefined;
  const log = { debug: silent, info: silent, warn: silent, error: silent };
  durable = await startDurable({ url, schema: 'orchestrator', log });
  runs = openRuns(database, silent);
  const services = [
    service(TrainingServiceService, training as never),
    service(ExportServiceService, exporting as never),
    service(DatasetServiceService, dataset as never),
  ];
  peer = await startServer({ address: '127.0.0.1:0', log, services });
  const addresses = {
    PAIRWISE_DATASET_ADDRESS: peer.address,
    PAIRWISE_REFERENCE_ADDRESS: peer.address,
    PAIRWISE_TRAINING_ADDRESS: peer.address,
    PAIRWISE_EXPORT_ADDRESS: peer.address,
  };
  const peers = openPeers(addresses, clientSecurity({}, log));
  durable.execute(runWork, ({ name }, attempt) => {
    const patienceMs = idOf(name) === 'healthy' ? 60_000 : 1000;
    return driveRun({ runs, peers, patienceMs }, name, attempt);
  });
  await durable.launch({ [runWork.queue]: 100 });
  const deps = {
    database,
    runs,
    peers,
    enqueue: (run: Run, tx: Parameters<Durable['enqueue']>[3]) =>
      durable.enqueue(runWork, runWorkId(run), { name: run.name }, tx),
    cancel: (run: Run, tx: Parameters<Durable['cancel']>[1]) => durable.cancel(runWorkId(run), tx),
    traceId: () => 'trace',
  };
  server = await startServer({ address: '127.0.0.1:0', log, services: [orchestratorService(deps)] });
  client = openClient(OrchestratorServiceService, server);
});

afterAll(async () => {
  client.close();
  await server.drain();
  await durable.stop();
  await peer.drain(0);
  await database.close();
});

/** Creates a run whose next stage is `train`, and waits until that has started. */
async function startedRun(id: string): Promise<string> {
  const spec = RunSpec.create({ training: {} });
  const stages = pendingStages().map((stage) => ({
    ...stage,
    state: ['validate', 'reference'].includes(stage.name) ? StageState.SUCCEEDED : stage.state,
  }));
  const run = Run.create({
    name: `${parent}/runs/${id}`,
    uid: id,
    state: RunState.RUNNING,
    stages,
    spec,
    resolvedSpec: spec,
    outputs: RunOutputs.create({}),
    createTime: new Date(),
    attempt: 1,
  });
  await database.transaction(async (tx) => {
    await runs.create(run, parent, tx);
    await durable.enqueue(runWork, runWorkId(run), { name: run.name }, tx);
  });
  await started.get(id)!.promise;
  return run.name;
}

test.each<[string, string | undefined]>([
  ['healthy', undefined],
  ['internal', 'the peer says no'],
  ['invalid', 'the peer says no'],
  ['denied', 'the peer says no'],
  ['defect', 'serializing'],
  ['away', 'its service is away'],
  ['silent', 'its service is away'],
  ['endless', 'it was still active'],
  ['silent-start', undefined],
])('a run whose training service is %s is cancelled and can be deleted', async (id, problem) => {
  const name = await startedRun(id);
  expect((await client.cancelRun({ name, requestId: '' })).run?.state).toBe(RunState.CANCELLING);
  const events: { type: string; message: string }[] = [];
  let last: Run | undefined;
  for await (const { payload } of client.watchRun({ name, resumeToken: '' })) {
    if (payload?.$case === 'event') events.push(payload.value);
    if (payload?.$case === 'run') last = payload.value;
  }
  expect(last?.state).toBe(RunState.CANCELLED);
  const notStopped = events.filter(({ type }) => type === 'work.not_stopped').map(({ message }) => message);
  expect(notStopped).toHaveLength(problem === undefined ? 0 : 1);
  if (problem !== undefined) {
    expect(notStopped[0]).toContain(`${parent}/trainings/${id} could not be stopped: `);
    expect(notStopped[0]).toContain(problem);
  }
  await client.deleteRun({ name, etag: '', requestId: '' });
  await expect(client.getRun({ name })).rejects.toMatchObject({ reason: 'NOT_FOUND' });
  expect(deleted.includes(id)).toBe(problem === undefined);
});

test.each([true, false])(
  'a run with more steps than an int32 holds is refused, validate_only: %s',
  async (validateOnly) => {
    const spec = RunSpec.fromPartial({
      model: { source: { $case: 'model', value: `${parent}/models/m` } },
      datasetVersion: `${parent}/datasets/d/versions/1`,
      training: { duration: { $case: 'numTrainEpochs', value: 10_000 } },
    });
    const refused = client.createRun({ parent, runId: 'countless', spec, requestId: '', validateOnly });
    const field = 'spec.training.num_train_epochs';
    await expect(refused).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT', field });
    await expect(client.getRun({ name: `${parent}/runs/countless` })).rejects.toMatchObject({ reason: 'NOT_FOUND' });
  },
);
