import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { RunSpec, RunState } from '@pairwise/api';
import { openDatabase } from '@pairwise/database';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { startPlatform } from 'pairwise/up/platform';
import { writeNextBuild } from './nextBuild.ts';
import { startTestPlatform, temporaryFolder, type TestPlatform } from './platform.ts';
import { tinyPairs, writeTinyModel } from '@pairwise/testing';

// Runs that begin under this build and end under the next one, which has migrated the schemas in between.

const version = '99.0.0';
const added = { orchestrator: 'alter table runs add note text', training: 'alter table trainings add note text' };

const { folder, remove } = temporaryFolder();
let startNext: typeof startPlatform;
let platform: TestPlatform;
let datasetVersion: string;
let undisturbed: string;

beforeAll(async () => {
  mkdirSync(join(folder, 'next'));
  startNext = await writeNextBuild(join(folder, 'next'), { version, added });
  writeTinyModel(join(folder, 'model'));
  platform = await startTestPlatform(folder);
  datasetVersion = await platform.importDataset('pairs', Buffer.from(tinyPairs(160)));
  undisturbed = await finish((await platform.createRun('undisturbed', specOf(steps))).name);
});

afterAll(async () => {
  await platform.stop();
  remove();
});

const steps = 40;

/** The runs differ in how often they save a checkpoint alone. */
function specOf(saveSteps: number): RunSpec {
  return RunSpec.fromPartial({
    model: { source: { $case: 'uri', value: `file://${folder}/model` } },
    datasetVersion,
    training: {
      learningRate: 1e-2,
      batchSize: 8,
      saveSteps,
      saveTotalLimit: steps,
      duration: { $case: 'maxSteps', value: steps },
      tuning: { $case: 'lora', value: { r: 4 } },
    },
    exportTargets: [{ format: { $case: 'adapter', value: {} } }],
  });
}

/** Waits for a run to succeed; the digest of its adapter. */
async function finish(name: string): Promise<string> {
  const ended = await platform.untilEnded(name);
  expect(ended.error).toBeUndefined();
  expect(ended.state).toBe(RunState.SUCCEEDED);
  return ended.outputs!.adapterDigest;
}

/** Begins a run and returns when it is past its second step. */
async function untilTraining(id: string, saveSteps: number): Promise<string> {
  const { name } = await platform.createRun(id, specOf(saveSteps));
  for await (const { payload } of platform.orchestrator.watchRun({ name, resumeToken: '' })) {
    if (payload?.$case === 'metrics' && payload.value.step > 1) return name;
  }
  throw new Error(`${name} ended before its training was seen`);
}

async function migrationsOf(schema: string): Promise<string[]> {
  const database = openDatabase({ url: platform.platform.databaseUrl, schema });
  const rows = await database.rows<{ id: string }>('select id from migrations order by position');
  await database.close();
  return rows.map(({ id }) => id);
}

/** Starts the next build on what this one has left, and sees the run through. */
async function finishedByNext(id: string, name: string): Promise<void> {
  const stopped = Date.now();
  // Its sources lie elsewhere each time, so that what is compiled of them is of no use later.
  platform = await startTestPlatform(folder, { NODE_COMPILE_CACHE: join(folder, 'compiled') }, [], startNext);
  expect((await platform.orchestrator.getServerInfo({})).version).toBe(version);
  expect((await platform.orchestrator.getRun({ name })).run?.state).toBe(RunState.RUNNING);
  expect(await finish(name)).toBe(undisturbed);
  const training = { parent: `projects/default/trainings/${id}`, pageSize: 0, pageToken: '' };
  const { checkpoints } = await platform.training.listCheckpoints(training);
  // This build did a part of the steps, and saved what it did; the next one did the rest.
  const [before, after] = [true, false].map((is) =>
    checkpoints.filter(({ createTime }) => +createTime! < stopped === is),
  );
  expect(before!.at(-1)!.step).toBeGreaterThan(0);
  expect(after!.at(-1)!.step).toBe(steps);
  for (const schema of Object.keys(added)) expect((await migrationsOf(schema)).at(-1)).toBe('9999-next');
}

test('a run whose build was stopped in its training is finished by the next, from where it was', async () => {
  expect((await platform.orchestrator.getServerInfo({})).version).not.toBe(version);
  const name = await untilTraining('stopped', steps);
  // First of all, so that the training cannot end while the others still finish what they are at.
  process.kill(platform.platform.pid('training-worker')!, 'SIGTERM');
  await platform.stop();
  await finishedByNext('stopped', name);
});

test('this build works with the schemas of the next, and a run during which it was killed is finished', async () => {
  await platform.stop();
  platform = await startTestPlatform(folder);
  expect((await platform.orchestrator.getServerInfo({})).version).not.toBe(version);
  const name = await untilTraining('killed', 1);
  process.kill(platform.platform.pid('postgres')!, 'SIGKILL');
  platform.platform.kill();
  await platform.stop();
  await finishedByNext('killed', name);
});
