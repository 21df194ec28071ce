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

// `pairwise doctor` on a platform that is well, and on one whose parts are frozen or taken away.

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

/** Runs the command; what the environment says of a platform at hand does not count. */
function doctor(environment: Record<string, string> = {}): Promise<Outcome> {
  const words = [main, 'doctor', '--json', '--address', platform.platform.address];
  const env = { PATH: process.env['PATH'], ...environment };
  return new Promise((tell) => {
    const child = execFile(process.execPath, words, { env }, (_, stdout, stderr) => {
      const lines = stdout.split('\n').filter((line) => line !== '');
      tell({ code: child.exitCode!, checks: lines.map((line) => JSON.parse(line) as Check), stderr });
    });
  });
}

/** Asks until the outcome is as wanted; workers show themselves, and are missed, after a while. */
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

test('a platform that is well: every check is ok', async () => {
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
    expect(queue.finding).toMatch(/^1 worker on cpu, cpu\/\w+\/onnxruntime-[\d.]+\/float32; 0 waiting, 0 running$/);
  }
  expect(names).toEqual(expect.arrayContaining(['versions', 'engine versions', 'clock here']));
});

test('database and store are looked at from here where the environment names them', async () => {
  const blobs = `file://${join(folder, 'data', 'blobs')}`;
  const well = await doctor({ DATABASE_URL: platform.platform.databaseUrl, PAIRWISE_BLOB_URL: blobs });
  expect(well.code).toBe(0);
  expect(named(well, 'here: blob store')!.state).toBe('ok');
  // The embedded server's only role.
  const role = named(well, 'here: database role')!;
  expect([role.state, role.finding]).toEqual(['warn', expect.stringContaining('is superuser')]);
  const away = await doctor({ DATABASE_URL: 'postgres://me:secret@127.0.0.1:1/x', PAIRWISE_BLOB_URL: `${blobs}/none` });
  expect(away.code).toBe(1);
  expect(failed(away)).toEqual(['here: database', 'here: blob store']);
  expect(JSON.stringify(away)).not.toContain('secret');
});

test('a store that cannot be written fails for each service that has it', async () => {
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
    // Again and again: the supervisor kills a frozen process after a while, and starts another one.
    freezing = setInterval(() => {
      if (platform.platform.pid('reference-worker') !== undefined) signal('reference-worker', 'SIGSTOP');
    }, 50);
  });
  afterAll(() => clearInterval(freezing));

  test('a service that does not answer is reported by itself, and so are the others', async () => {
    const outcome = await doctorWithout('training');
    expect(outcome.code).toBe(1);
    expect(failed(outcome)).toEqual(['TrainingService', 'training']);
    expect(named(outcome, 'export: database')!.state).toBe('ok');
  });

  test('without an orchestrator there is no diagnosis, which fails', async () => {
    const outcome = await doctorWithout('orchestrator');
    expect(outcome.code).toBe(1);
    expect(failed(outcome)).toEqual(['OrchestratorService', 'DiagnosticsService']);
  });

  test('the queue of the worker fails as soon as work waits in it, until the worker is back', async () => {
    const datasetVersion = await platform.importDataset('pairs', Buffer.from(tinyPairs(8)));
    const spec = RunSpec.fromPartial({
      model: { source: { $case: 'uri', value: `file://${folder}/model` } },
      datasetVersion,
      training: { duration: { $case: 'maxSteps', value: 1 }, tuning: { $case: 'lora', value: { r: 4 } } },
      exportTargets: [{ format: { $case: 'adapter', value: {} } }],
    });
    const gone = await doctorUntil((checks) => named(checks, 'reference: queue accelerator')?.state === 'warn');
    // None is needed as long as nothing waits.
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

test('rights and TLS of a role are judged', async () => {
  const { server } = await testDatabase();
  const url = await lockDown(server, folder, 'p@ss/word');
  const look = async () => ({ checks: await localChecks({ DATABASE_URL: url.href }) });
  const well = await look();
  expect(well.checks.map(({ state }) => state)).toEqual(well.checks.map(() => 'ok'));
  expect(named(well, 'here: database TLS')!.finding).toBe('in use');
  const admin = openDatabase({ url: server.url, schema: 'public' });
  await admin.run('revoke create on database locked from plain');
  await admin.run('alter role plain createdb');
  await admin.close();
  const less = await look();
  expect(failed(less)).toEqual(['here: database schemas']);
  expect(named(less, 'here: database role')).toMatchObject({ state: 'warn', finding: 'plain may create databases' });
});
