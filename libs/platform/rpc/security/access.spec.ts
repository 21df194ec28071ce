import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  DatasetServiceService,
  ImportPolicy,
  ModelServiceService,
  OrchestratorServiceService,
  RunSpec,
  type ImportPairsRequest,
} from '@pairwise/api';
import { status } from '@grpc/grpc-js';
import { PairwiseError } from '@pairwise/errors';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Definition } from '../methods.ts';
import {
  type Client,
  type RunningServer,
  openClient,
  openSecurity,
  service,
  startFront,
  startServer,
} from '../index.ts';
import { accessEntry, mount } from '../testing.ts';
import { failure } from '../testing.echo.ts';

/** A service whose methods all throw a recognisable error once they are reached. */
function reached(definition: Definition) {
  const found = () => new PairwiseError('NOT_FOUND', 'reached');
  const handlers = Object.entries(definition).map(([name, { requestStream, responseStream }]) => [
    name,
    async function (request: unknown) {
      if (requestStream) await Array.fromAsync(request as AsyncIterable<unknown>);
      if (responseStream) throw new Error('not called here');
      throw found();
    },
  ]);
  return service(definition, Object.fromEntries(handlers) as Parameters<typeof service>[1]);
}

const tokens = {
  reader: 'token-of-the-reader-1',
  submitter: 'token-of-the-submitter-1',
  admin: 'token-of-the-admin-1',
  everywhere: 'token-of-everywhere-1',
};
const entries = [
  accessEntry('reader', tokens.reader, { 'projects/a': 'reader' }),
  accessEntry('submitter', tokens.submitter, { 'projects/a': 'submitter', 'projects/shared': 'reader' }),
  accessEntry('admin', tokens.admin, { 'projects/a': 'admin', 'projects/b': 'reader' }),
  accessEntry('everywhere', tokens.everywhere, { '*': 'reader', 'projects/b': 'admin' }),
];
const logged: string[] = [];
const log = { error: (fields: object, message: string) => logged.push(JSON.stringify(fields), message) };
const open: Client<Definition>[] = [];
let folder: string;
let accessFile: string;
let server: RunningServer;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'pairwise-access-'));
  [accessFile] = mount(folder, { 'access.json': JSON.stringify(entries) }) as [string];
  const services = [DatasetServiceService, ModelServiceService, OrchestratorServiceService].map(reached);
  server = await startServer({ address: '127.0.0.1:0', accessFile, services, log });
});
afterAll(async () => {
  open.forEach((client) => client.close());
  await server.drain(0);
  rmSync(folder, { recursive: true });
});

function as<D extends Definition>(definition: D, token: string | undefined, address = server.address): Client<D> {
  const tokenFile =
    token === undefined ? undefined : mount(mkdtempSync(join(folder, 't-')), { token: `${token}\n` })[0];
  const client = openClient(definition, { address, security: openSecurity({ tokenFile }, log) });
  open.push(client);
  return client;
}
const datasets = (token?: string) => as(DatasetServiceService, token);
const runs = (token?: string) => as(OrchestratorServiceService, token);

/** Returns `reached`, or the status and the error with which the call was refused. */
async function outcome(call: Promise<unknown>): Promise<string> {
  const { reason, message, cause } = (await failure(call))!;
  if (message === 'reached') return 'reached';
  for (const token of Object.values(tokens)) expect(message).not.toContain(token);
  expect(status[(cause as { code: status }).code]).toBe(reason);
  return reason;
}
const remove = { name: 'projects/a/datasets/d', etag: '', requestId: '' };
const create = (parent: string) => ({ parent, datasetId: '', requestId: '', validateOnly: false });

test('a call without a token, or with a wrong one, is UNAUTHENTICATED', async () => {
  for (const token of [undefined, 'token-that-nobody-has', entries[2]!.sha256]) {
    expect(await outcome(datasets(token).getDataset(remove))).toBe('UNAUTHENTICATED');
    expect(await outcome(runs(token).getServerInfo({}))).toBe('UNAUTHENTICATED');
  }
});

test('each role includes the lower ones', async () => {
  for (const [token, ...expected] of [
    [tokens.reader, 'reached', 'PERMISSION_DENIED', 'PERMISSION_DENIED'],
    [tokens.submitter, 'reached', 'reached', 'PERMISSION_DENIED'],
    [tokens.admin, 'reached', 'reached', 'reached'],
  ] as const) {
    const client = datasets(token);
    const got = [client.getDataset(remove), client.createDataset(create('projects/a')), client.deleteDataset(remove)];
    expect(await Promise.all(got.map(outcome))).toEqual(expected);
    expect(await outcome(runs(token).getServerInfo({}))).toBe('reached');
  }
});

test('a role applies to its project, and a role for * to every project', async () => {
  const list = (parent: string) => ({ parent, pageSize: 0, pageToken: '' });
  for (const [token, project, expected] of [
    [tokens.reader, 'projects/b', 'PERMISSION_DENIED'],
    [tokens.reader, 'projects/ab', 'PERMISSION_DENIED'],
    [tokens.reader, 'projects/-', 'INVALID_ARGUMENT'],
    [tokens.reader, '', 'INVALID_ARGUMENT'],
    [tokens.everywhere, 'projects/other', 'reached'],
    [tokens.everywhere, 'projects/-', 'reached'],
  ] as const) {
    expect(await outcome(datasets(token).listDatasets(list(project)))).toBe(expected);
  }
  expect(await outcome(datasets(tokens.everywhere).createDataset(create('projects/b')))).toBe('reached');
  expect(await outcome(datasets(tokens.everywhere).createDataset(create('projects/a')))).toBe('PERMISSION_DENIED');
  const denied = await failure(datasets(tokens.admin).createDataset(create('projects/b')));
  expect(denied?.metadata).toEqual({ caller: 'admin', role: 'submitter', project: 'projects/b' });
});

test('the caller must be able to read everything else that a request names', async () => {
  const run = (datasetVersion: string) => ({
    parent: 'projects/a',
    runId: '',
    spec: RunSpec.create({ datasetVersion, model: { source: { $case: 'uri', value: 'hf://a/b' } } }),
    requestId: '',
    validateOnly: true,
  });
  const client = runs(tokens.submitter);
  expect(await outcome(client.createRun(run('projects/a/datasets/d/versions/1')))).toBe('reached');
  expect(await outcome(client.createRun(run('projects/shared/datasets/d/versions/1')))).toBe('reached');
  expect(await outcome(client.createRun(run('projects/b/datasets/d/versions/1')))).toBe('PERMISSION_DENIED');
  const source = { source: { $case: 'model' as const, value: 'projects/b/models/m' } };
  const inspect = as(ModelServiceService, tokens.reader).inspectModel({ parent: 'projects/a', source });
  expect(await outcome(inspect)).toBe('PERMISSION_DENIED');
});

test('an upload belongs to the project in its header', async () => {
  async function* upload(...payloads: ImportPairsRequest['payload'][]) {
    for (const payload of payloads) yield await Promise.resolve({ payload });
  }
  const header = (project: string) => ({
    $case: 'header' as const,
    value: { parent: `${project}/datasets/d`, importId: 'i', offsetBytes: 0n, policy: ImportPolicy.STRICT },
  });
  const chunk = { $case: 'chunk' as const, value: Buffer.from('projects/b') };
  const send = (token: string, ...payloads: ImportPairsRequest['payload'][]) =>
    outcome(datasets(token).importPairs(upload(...payloads)));
  expect(await send(tokens.submitter, header('projects/a'), chunk)).toBe('reached');
  expect(await send(tokens.submitter, header('projects/b'), chunk)).toBe('PERMISSION_DENIED');
  expect(await send(tokens.reader, header('projects/a'), chunk)).toBe('PERMISSION_DENIED');
  expect(await send(tokens.submitter, chunk, header('projects/b'))).toBe('INVALID_ARGUMENT');
});

test('the front lets known tokens in and passes them on', async () => {
  const routes = { 'pairwise.v1.DatasetService': server.address };
  const front = await startFront({ address: '127.0.0.1:0', routes, accessFile, log });
  try {
    const through = (token?: string) => as(DatasetServiceService, token, front.address);
    expect(await outcome(through(tokens.reader).getDataset(remove))).toBe('reached');
    expect(await outcome(through(tokens.reader).deleteDataset(remove))).toBe('PERMISSION_DENIED');
    expect(await outcome(through('token-that-nobody-has').getDataset(remove))).toBe('UNAUTHENTICATED');
    expect(await outcome(through().getDataset(remove))).toBe('UNAUTHENTICATED');
  } finally {
    open.splice(0).forEach((client) => client.close());
    await front.stop(0);
  }
});

test('a new access file applies at once; a broken one changes nothing and is logged without its text', async () => {
  const client = datasets(tokens.reader);
  expect(await outcome(client.deleteDataset(remove))).toBe('PERMISSION_DENIED');
  const raised = [accessEntry('reader', tokens.reader, { 'projects/a': 'admin' }), ...entries.slice(1)];
  mount(folder, { 'access.json': JSON.stringify(raised) });
  while ((await outcome(client.deleteDataset(remove))) !== 'reached');
  mount(folder, { 'access.json': `[{"name": "${tokens.reader}` });
  while (!logged.some((line) => line.includes('it is not valid JSON'))) await outcome(client.deleteDataset(remove));
  expect(await outcome(client.deleteDataset(remove))).toBe('reached');
  mount(folder, { 'access.json': JSON.stringify(entries.slice(1)) });
  while ((await outcome(client.deleteDataset(remove))) !== 'UNAUTHENTICATED');
  for (const token of Object.values(tokens)) expect(logged.join()).not.toContain(token);
});
