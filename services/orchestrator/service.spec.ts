import {
  MetricPoint,
  CreateRunRequest,
  OrchestratorServiceService,
  Run,
  RunSpec,
  RunState,
  StageState,
} from '@pairwise/api';
import { offences, send } from '@pairwise/api/testing';
import { callOf, migrate, openDatabase, runOnce, type Database } from '@pairwise/database';
import { testDatabase } from '@pairwise/database/testing';
import { startDurable, type Durable } from '@pairwise/durable';
import { clientSecurity, openClient, startServer, type Client, type RunningServer } from '@pairwise/rpc';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { migrations } from './migrations.ts';
import { openPeers } from './peers.ts';
import { pendingStages, stageNames } from './run.ts';
import { changed, openRuns, type Runs } from './runs.ts';
import { orchestratorService } from './service.ts';
import { runWork, runWorkId } from './workflow.ts';

const parent = 'projects/default';
let [database, durable, runs, server, client] = [] as unknown as [
  Database,
  Durable,
  Runs,
  RunningServer,
  Client<typeof OrchestratorServiceService>,
];
const logged: string[] = [];
let databaseFails = false;

// The work of the runs is enqueued but never executed, and no peer is running.
beforeAll(async () => {
  const { url } = await testDatabase();
  database = openDatabase({ url, schema: 'orchestrator' });
  await migrate(database, migrations);
  const silent = () => undefined;
  const log = { debug: silent, info: silent, warn: silent, error: console.error };
  durable = await startDurable({ url, schema: 'orchestrator', log });
  runs = openRuns(database, (name, { message }) => logged.push(`${name}: ${message}`));
  const nowhere = '127.0.0.1:1';
  const nowherePeers = {
    PAIRWISE_DATASET_ADDRESS: nowhere,
    PAIRWISE_REFERENCE_ADDRESS: nowhere,
    PAIRWISE_TRAINING_ADDRESS: nowhere,
    PAIRWISE_EXPORT_ADDRESS: nowhere,
  };
  const peers = openPeers(nowherePeers, clientSecurity({}, log));
  const deps = {
    database,
    runs,
    peers,
    enqueue: async (run: Run, tx: Parameters<Durable['enqueue']>[3]) => {
      await durable.enqueue(runWork, runWorkId(run), { name: run.name }, tx);
      if (databaseFails) throw new Error('the database fails');
    },
    cancel: (run: Run, tx: Parameters<Durable['cancel']>[1]) => durable.cancel(runWorkId(run), tx),
    traceId: () => 'trace',
  };
  server = await startServer({
    address: '127.0.0.1:0',
    log: { ...log, error: silent },
    services: [orchestratorService(deps)],
  });
  client = openClient(OrchestratorServiceService, server);
}, 120_000);

afterAll(async () => {
  client.close();
  await server.drain();
  await durable.stop();
  await database.close();
});

const limits = Run.create({ name: `${parent}/runs/limits`, stages: pendingStages() });

async function stored(id: string, state: RunState): Promise<Run> {
  const name = `${parent}/runs/${id}`;
  const spec = RunSpec.create({});
  const run = Run.create({ name, uid: id, state, stages: pendingStages(), spec, resolvedSpec: spec, attempt: 1 });
  await database.transaction((tx) => runs.create(run, parent, tx));
  return runs.get(name);
}

test('a retry happens once per request id, completely or not at all', async () => {
  const run = await stored('failed', RunState.FAILED);
  const { name } = run;
  databaseFails = true;
  await expect(client.retryRun({ name, requestId: 'one' })).rejects.toMatchObject({ reason: 'INTERNAL' });
  databaseFails = false;
  expect(await runs.get(name)).toEqual(run);
  expect(await durable.state(runWorkId({ ...run, attempt: 2 }))).toBeUndefined();

  const both = await Promise.all([1, 2].map(() => client.retryRun({ name, requestId: 'one' })));
  for (const { run: again } of both)
    expect(again).toMatchObject({ state: RunState.QUEUED, attempt: 2, traceId: 'trace' });
  expect(await durable.state(runWorkId({ ...run, attempt: 2 }))).toBe('QUEUED');
  expect(logged.filter((text) => text === `${name}: Attempt 2 started.`)).toHaveLength(1);
  await expect(client.retryRun({ name, requestId: 'two' })).rejects.toMatchObject({
    reason: 'WRONG_STATE',
    field: 'name',
  });
});

test('a request id that was used for another run is refused', async () => {
  const [first, other] = [await stored('first', RunState.CANCELLED), await stored('other', RunState.CANCELLED)];
  await client.retryRun({ name: first.name, requestId: 'three' });
  const reused = client.retryRun({ name: other.name, requestId: 'three' });
  await expect(reused).rejects.toMatchObject({ reason: 'REQUEST_ID_REUSED', field: 'request_id' });
  expect((await runs.get(other.name)).attempt).toBe(1);
});

test('events are numbered from 1, whatever metric points are between them', async () => {
  const { name } = await stored('numbered', RunState.RUNNING);
  const add = (type: string) => runs.change(name, () => changed({ type, message: type }));
  await add('one');
  for (const step of [1, 2]) await runs.addMetrics(name, BigInt(step), MetricPoint.fromPartial({ step }));
  await add('two');
  const firstPage = await client.listRunEvents({ parent: name, pageSize: 1, pageToken: '' });
  const rest = await client.listRunEvents({ parent: name, pageSize: 50, pageToken: firstPage.nextPageToken });
  const events = [...firstPage.events, ...rest.events];
  expect(events.map(({ type, sequence }) => [type, sequence])).toEqual([
    ['run.created', 1n],
    ['one', 2n],
    ['two', 3n],
  ]);
  // An event as earlier versions wrote them has its place in the log.
  await database.run(`update run_log set event = event - 'sequence' where run = $1`, [name]);
  const { events: old } = await client.listRunEvents({ parent: name, pageSize: 0, pageToken: '' });
  expect(old.map(({ sequence }) => sequence)).toEqual([1n, 2n, 5n]);
});

test('a late repetition of a call that cancelled a run does not cancel its retry', async () => {
  const { name } = await stored('late', RunState.QUEUED);
  const request = { name, requestId: 'stop' };
  expect((await client.cancelRun(request)).run?.state).toBe(RunState.CANCELLING);
  await runs.change(name, (run) => {
    run.state = RunState.CANCELLED;
    return changed();
  });
  await client.retryRun({ name, requestId: '' });
  expect((await client.cancelRun(request)).run?.state).toBe(RunState.QUEUED);
});

test('a run is deleted only if its etag matches, it has ended, and its export and training can be deleted', async () => {
  const { name, etag } = await stored('done', RunState.SUCCEEDED);
  const stale = client.deleteRun({ name, etag: `${etag}0`, requestId: '' });
  await expect(stale).rejects.toMatchObject({ reason: 'ETAG_MISMATCH', field: 'etag' });
  const queued = await stored('queued', RunState.QUEUED);
  const early = client.deleteRun({ name: queued.name, etag: '', requestId: '' });
  await expect(early).rejects.toMatchObject({ reason: 'WRONG_STATE', field: 'name' });
  // Its export cannot be deleted while the peer is away, so the run stays.
  await expect(client.deleteRun({ name, etag, requestId: 'four' })).rejects.toMatchObject({ reason: 'UNAVAILABLE' });
  expect((await client.getRun({ name })).run).toMatchObject({ name, etag });
}, 60_000);

test('cancelling can be repeated, with any request id', async () => {
  const { name } = await stored('moving', RunState.QUEUED);
  for (const requestId of ['five', 'five', '']) {
    expect((await client.cancelRun({ name, requestId })).run?.state).toBe(RunState.CANCELLING);
  }
  const ended = await stored('ended', RunState.FAILED);
  const { run: unchanged } = await client.cancelRun({ name: ended.name, requestId: '' });
  expect(unchanged).toMatchObject({ state: RunState.FAILED, etag: ended.etag });
});

test('a repeated creation returns its run, even if its inputs are gone', async () => {
  const spec = RunSpec.fromPartial({
    model: { source: { $case: 'model', value: `${parent}/models/gone` } },
    datasetVersion: `${parent}/datasets/gone/versions/1`,
  });
  const request = { parent, runId: '', spec, requestId: 'six', validateOnly: false };
  const { name } = await stored('made', RunState.SUCCEEDED);
  await runOnce(database, callOf('CreateRun', CreateRunRequest, request), () => Promise.resolve(name));
  expect((await client.createRun(request)).run?.name).toBe(name);
  const other = client.createRun({ ...request, runId: 'another' });
  await expect(other).rejects.toMatchObject({ reason: 'REQUEST_ID_REUSED', field: 'request_id' });
});

const page = { parent: `${parent}/runs/limits` };
const goodRun = {
  parent,
  spec: {
    model: { model: `${parent}/models/m` },
    datasetVersion: `${parent}/datasets/d/versions/1`,
    training: { losses: [{ type: 'sigmoid' }] },
  },
};
const good = {
  createRun: goodRun,
  estimateRun: goodRun,
  listRuns: { parent },
  listRunEvents: page,
  listRunMetrics: page,
};
test.each(offences('OrchestratorService', good))('$method refuses $field of $value', async (offence) => {
  if (offence.method !== 'createRun') await database.transaction((tx) => runs.create(limits, parent, tx));
  const refused = send(client, OrchestratorServiceService, offence);
  await expect(refused).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT', field: offence.field });
});

test('a call stops when its deadline has passed', async () => {
  const spec = RunSpec.fromPartial({
    model: { source: { $case: 'model', value: `${parent}/models/m` } },
    datasetVersion: `${parent}/datasets/d/versions/1`,
  });
  const request = { parent, runId: 'late', spec, requestId: '', validateOnly: false };
  const began = Date.now();
  const late = client.createRun(request, { deadline: new Date(began + 50) });
  await expect(late).rejects.toMatchObject({ reason: 'UNAVAILABLE' });
  expect(Date.now() - began).toBeLessThan(1000);
});

test('a retry keeps the stages that succeeded, except an export that was not verified', () => {
  const stages = (ended: number) =>
    stageNames.map((name, index) => {
      const state = index < ended ? StageState.SUCCEEDED : StageState.CANCELLED;
      return { ...pendingStages()[index]!, name, state };
    });
  const kept = (ended: number) =>
    pendingStages(stages(ended))
      .filter(({ state }) => state === StageState.SUCCEEDED)
      .map(({ name }) => name);
  expect(kept(2)).toEqual(['validate', 'reference']);
  expect(kept(4)).toEqual(['validate', 'reference', 'train']);
  expect(kept(5)).toEqual(stageNames);
});
