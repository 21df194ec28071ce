import { execFile } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { RunSpec, RunState } from '@pairwise/api';
import { openDatabase } from '@pairwise/database';
import { testDatabase } from '@pairwise/database/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Check } from 'pairwise/doctor/check';
import { localChecks } from 'pairwise/doctor/local';
import { startTestPlatform, temporaryFolder, type TestPlatform } from './platform.ts';
import { lockDown } from './testing.ts';
import { tinyPairs, writeTinyModel } from '@pairwise/testing';

// Runs `pairwise doctor` on a healthy platform, and on one with frozen or missing parts.

const main = join(import.meta.dirname, '../../cli/main.ts');
const { folder, remove } = temporaryFolder();
let platform: TestPlatform;

beforeAll(async () => {
  writeTinyModel(join(folder, 'model'));
  platform = await startTestPlatform(folder);
});
afterAll(async () => {
  await platform.stop();
  remove();
});

interface Outcome {
  code: number;
  checks: Check[];
  stderr: string;
}

/** Runs the command, with only the given variables in its environment. */
function doctor(environment: Record<string, string> = {}): Promise<Outcome> {
  const words = [main, 'doctor', '--json', '--address', platform.platform.address];
  const env = { PATH: process.env['PATH'], ...environment };
  return new Promise((resolve) => {
    const child = execFile(process.execPath, words, { env }, (_, stdout, stderr) => {
      const lines = stdout.split('\n').filter((line) => line !== '');
      resolve({ code: child.exitCode!, checks: lines.map((line) => JSON.parse(line) as Check), stderr });
    });
  });
}

/** Runs the command until its outcome is as wanted, because workers appear and disappear with a delay. */
async function doctorUntil(wanted: (outcome: Outcome) => boolean): Promise<Outcome> {
  for (;;) {
    const outcome = await doctor();
    if (wanted(outcome)) return outcome;
    await sleep(500);
  }
}

const failed = ({ checks }: Pick<Outcome, 'checks'>) =>
  checks.filter(({ state }) => state === 'fail').map(({ check }) => check);
const named = ({ checks }: Pick<Outcome, 'checks'>, name: string) => checks.find(({ check }) => check === name);

type ProcessName = Parameters<TestPlatform['platform']['pid']>[0];

function signal(name: ProcessName, which: 'SIGSTOP' | 'SIGCONT'): void {
  process.kill(platform.platform.pid(name)!, which);
}

/** The outcome while a process is frozen. */
async function doctorWithout(name: ProcessName): Promise<Outcome> {
  signal(name, 'SIGSTOP');
  try {
    return await doctor();
  } finally {
    signal(name, 'SIGCONT');
  }
}

test('on a healthy platform every check is ok', async () => {
  const outcome = await doctorUntil(({ checks }) => checks.every(({ state }) => state === 'ok'));
  expect(outcome).toMatchObject({ code: 0, stderr: '' });
  const names = outcome.checks.map(({ check }) => check);
  for (const service of ['Dataset', 'Model', 'Reference', 'Training', 'Export', 'Orchestrator']) {
    expect(names).toContain(`${service}Service`);
  }
  for (const process of ['dataset', 'reference', 'training', 'export', 'orchestrator']) {
    expect(names).toEqual(expect.arrayContaining([`${process}: database`, `${process}: clock`]));
  }
  const stores = names.filter((name) => name.endsWith(': blob store'));
  expect(stores.sort()).toEqual(['dataset', 'export', 'reference'].map((process) => `${process}: blob store`));
  for (const process of ['reference', 'training']) {
    const queue = named(outcome, `${process}: queue accelerator`)!;
    expect(queue.finding).toMatch(
      /^1 worker on cpu with [\d.]+ GB, cpu\/[\w-]+\/onnxruntime-[\d.]+\/float32; 0 waiting, 0 running$/,
    );
  }
  expect(names).toEqual(expect.arrayContaining(['versions', 'engine versions', 'clock here']));
});

test('database and store are checked from here if the environment names them', async () => {
  const blobs = `file://${join(folder, 'data', 'blobs')}`;
  const healthy = await doctor({ DATABASE_URL: platform.platform.databaseUrl, PAIRWISE_BLOB_URL: blobs });
  expect(healthy.code).toBe(0);
  expect(named(healthy, 'here: blob store')!.state).toBe('ok');
  // The embedded server has only one role.
  const role = named(healthy, 'here: database role')!;
  expect([role.state, role.finding]).toEqual(['warn', expect.stringContaining('is superuser')]);
  const broken = await doctor({
    DATABASE_URL: 'postgres://me:secret@127.0.0.1:1/x',
    PAIRWISE_BLOB_URL: `${blobs}/none`,
  });
  expect(broken.code).toBe(1);
  expect(failed(broken)).toEqual(['here: database', 'here: blob store']);
  expect(JSON.stringify(broken)).not.toContain('secret');
});

test('a store that cannot be written fails the check of each service that uses it', async () => {
  const incoming = join(folder, 'data', 'blobs', 'incoming');
  rmSync(incoming, { recursive: true });
  writeFileSync(incoming, '');
  const outcome = await doctor();
  expect(outcome.code).toBe(1);
  expect(failed(outcome).sort()).toEqual(['dataset', 'export', 'reference'].map((name) => `${name}: blob store`));
  rmSync(incoming);
  mkdirSync(incoming);
  expect((await doctor()).code).toBe(0);
});

describe('while the reference worker is frozen', () => {
  let freezing: NodeJS.Timeout;
  beforeAll(() => {
    // Repeatedly, because the supervisor kills a frozen process after a while and starts another one.
    freezing = setInterval(() => {
      if (platform.platform.pid('reference-worker') !== undefined) signal('reference-worker', 'SIGSTOP');
    }, 50);
  });
  afterAll(() => clearInterval(freezing));

  test('a service that does not answer is reported, and the others are still checked', async () => {
    const outcome = await doctorWithout('training');
    expect(outcome.code).toBe(1);
    expect(failed(outcome)).toEqual(['TrainingService', 'training']);
    expect(named(outcome, 'export: database')!.state).toBe('ok');
  });

  test('without an orchestrator the diagnosis fails', async () => {
    const outcome = await doctorWithout('orchestrator');
    expect(outcome.code).toBe(1);
    expect(failed(outcome)).toEqual(['OrchestratorService', 'DiagnosticsService']);
  });

  test('the queue of the worker fails while work waits in it and the worker is away', async () => {
    const datasetVersion = await platform.importDataset('pairs', Buffer.from(tinyPairs(8)));
    const spec = RunSpec.fromPartial({
      model: { source: { $case: 'uri', value: `file://${folder}/model` } },
      datasetVersion,
      training: { duration: { $case: 'maxSteps', value: 1 }, tuning: { $case: 'lora', value: { r: 4 } } },
      exportTargets: [{ format: { $case: 'adapter', value: {} } }],
    });
    const gone = await doctorUntil((checks) => named(checks, 'reference: queue accelerator')?.state === 'warn');
    // A queue without waiting work needs no worker.
    expect(gone.code).toBe(0);
    const { name } = await platform.createRun('one', spec);
    const outcome = await doctorUntil(({ code }) => code !== 0);
    expect(outcome.code).toBe(1);
    expect(failed(outcome)).toEqual(['reference: queue accelerator']);
    const { finding, remedy } = named(outcome, 'reference: queue accelerator')!;
    expect(finding).toBe('0 workers; 1 waiting, 0 running');
    expect(remedy).toMatch(/start a worker/);
    clearInterval(freezing);
    signal('reference-worker', 'SIGCONT');
    expect((await platform.untilEnded(name)).state).toBe(RunState.SUCCEEDED);
    await doctorUntil(({ checks }) => checks.every(({ state }) => state === 'ok'));
  });
});

test('the privileges and TLS of a database role are checked', async () => {
  const { server } = await testDatabase();
  const url = await lockDown(server, folder, 'p@ss/word');
  const check = async () => ({ checks: await localChecks({ DATABASE_URL: url.href }) });
  const healthy = await check();
  expect(healthy.checks.map(({ state }) => state)).toEqual(healthy.checks.map(() => 'ok'));
  expect(named(healthy, 'here: database TLS')!.finding).toBe('in use');
  const admin = openDatabase({ url: server.url, schema: 'public' });
  await admin.run('revoke create on database locked from plain');
  await admin.run('alter role plain createdb');
  await admin.close();
  const weak = await check();
  expect(failed(weak)).toEqual(['here: database schemas']);
  expect(named(weak, 'here: database role')).toMatchObject({ state: 'warn', finding: 'plain may create databases' });
});
