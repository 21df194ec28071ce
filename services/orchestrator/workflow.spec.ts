import {
  BaseQuantization,
  ExportTarget,
  OrchestratorServiceService,
  Run,
  RunOutputs,
  RunSpec,
  RunEstimate,
  RunState,
  StageState,
} from '@pairwise/api';
import { migrate, openDatabase, type Database } from '@pairwise/database';
import { testDatabase } from '@pairwise/database/testing';
import { startDurable, type Durable } from '@pairwise/durable';
import { clientSecurity, errorOf, openClient, startServer, type Client, type RunningServer } from '@pairwise/rpc';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { migrations } from './migrations.ts';
import { openPeers } from './peers.ts';
import { pendingStages } from './run.ts';
import { openRuns, type Runs } from './runs.ts';
import { orchestratorService } from './service.ts';
import { misbehavingPeers } from './testing.ts';
import { driveRun, runWork, runWorkId } from './workflow.ts';

// Runs against peers that misbehave in different ways, over real sockets.

const parent = 'projects/default';
const { services, started, deleted } = misbehavingPeers(parent);
let [database, durable, runs] = [] as unknown as [Database, Durable, Runs];
let [peer, server, client] = [] as unknown as [RunningServer, RunningServer, Client<typeof OrchestratorServiceService>];

beforeAll(async () => {
  const { url } = await testDatabase();
  database = openDatabase({ url, schema: 'orchestrator' });
  await migrate(database, migrations);
  const silent = () => undefined;
  const log = { debug: silent, info: silent, warn: silent, error: silent };
  durable = await startDurable({ url, schema: 'orchestrator', log });
  runs = openRuns(database, silent);
  peer = await startServer({ address: '127.0.0.1:0', log, services });
  const addresses = {
    PAIRWISE_DATASET_ADDRESS: peer.address,
    PAIRWISE_REFERENCE_ADDRESS: peer.address,
    PAIRWISE_TRAINING_ADDRESS: peer.address,
    PAIRWISE_EXPORT_ADDRESS: peer.address,
  };
  const peers = openPeers(addresses, clientSecurity({}, log));
  durable.execute(runWork, ({ name }, attempt) => {
    const patienceMs = name.endsWith('/healthy') ? 60_000 : 1000;
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

test('a model that cannot be quantised fails the stage validate, with the reason', async () => {
  const spec = RunSpec.fromPartial({
    model: { source: { $case: 'model', value: `${parent}/models/ready` } },
    datasetVersion: `${parent}/datasets/d/versions/1`,
    training: { duration: { $case: 'maxSteps', value: 2 }, baseQuantization: BaseQuantization.NF4 },
    exportTargets: [{ format: { $case: 'adapter', value: {} } }],
  });
  const request = { parent, runId: 'quantised', spec, requestId: '' };
  // Nothing is quantised, or even looked up, before the run.
  const { run: valid } = await client.createRun({ ...request, validateOnly: true });
  expect(valid?.resolvedSpec?.training?.baseQuantization).toBe(BaseQuantization.NF4);
  const { name } = (await client.createRun({ ...request, validateOnly: false })).run!;
  let last: Run | undefined;
  for await (const { payload } of client.watchRun({ name, resumeToken: '' })) {
    if (payload?.$case === 'run') last = payload.value;
  }
  expect(last?.stages[0]).toMatchObject({ name: 'validate', state: StageState.FAILED });
  expect(errorOf(last!.error)).toMatchObject({
    reason: 'UNSUPPORTED_CONFIG',
    field: 'spec.training.base_quantization',
    message: 'spec.training.base_quantization: up_proj is [65, 32]; NF4 needs even columns',
  });
});

describe('a run of a model that cannot be exported as GGUF', () => {
  const create = (
    model: string,
    exportTargets: ExportTarget[],
    validateOnly: boolean,
    evaluation?: RunSpec['evaluation'],
  ) => {
    const spec = RunSpec.fromPartial({
      evaluation,
      model: { source: { $case: 'model', value: `${parent}/models/${model}` } },
      datasetVersion: `${parent}/datasets/d/versions/1`,
      training: { duration: { $case: 'maxSteps', value: 2 } },
      exportTargets,
    });
    return client.createRun({ parent, runId: `gguf-${model}`, spec, requestId: '', validateOnly });
  };
  const adapter = ExportTarget.create({ format: { $case: 'adapter', value: {} } });
  const gguf = ExportTarget.create({ format: { $case: 'gguf', value: { type: 'F16' } } });
  const ggufAdapter = ExportTarget.create({ format: { $case: 'ggufAdapter', value: {} } });
  const refusal = {
    reason: 'UNSUPPORTED_FORMAT',
    field: 'spec.export_targets[1]',
    message:
      'spec.export_targets[1]: the model cannot be exported as GGUF: the pre_tokenizer Digits; ' +
      'list other export targets, or use another model',
  };

  test.each([true, false])('is refused for a GGUF target before any work, validate_only: %s', async (validateOnly) => {
    await expect(create('ready', [adapter, gguf], validateOnly)).rejects.toMatchObject(refusal);
    await expect(create('ready', [adapter, ggufAdapter], validateOnly)).rejects.toMatchObject(refusal);
    // Without any target there is a GGUF file as well.
    await expect(create('ready', [], validateOnly)).rejects.toMatchObject({ reason: refusal.reason });
  });

  test('is accepted for other targets', async () => {
    expect((await create('ready', [adapter], true)).run?.state).toBe(RunState.QUEUED);
  });

  test('is accepted without an estimate while it is being imported', async () => {
    const { run, estimate } = await create('importing-slowly', [adapter], true);
    expect([run?.state, estimate]).toEqual([RunState.QUEUED, RunEstimate.create({})]);
  });

  test('is estimated without the pairs that are held out', async () => {
    const estimated = async (evaluation: RunSpec['evaluation']) => {
      const { estimate } = await create('ready', [adapter], true, evaluation);
      // The stub's training has a step for each pair.
      return estimate?.training?.stepCount;
    };
    expect(await estimated(undefined)).toBe(1000);
    expect(await estimated({ $case: 'evalFraction', value: 0.05 })).toBe(950);
  });

  test('is refused in the stage validate if it was still being imported', async () => {
    const { name } = (await create('importing', [adapter, gguf], false)).run!;
    let last: Run | undefined;
    for await (const { payload } of client.watchRun({ name, resumeToken: '' })) {
      if (payload?.$case === 'run') last = payload.value;
    }
    expect(last?.state).toBe(RunState.FAILED);
    expect(errorOf(last!.error)).toMatchObject(refusal);
  });
});
