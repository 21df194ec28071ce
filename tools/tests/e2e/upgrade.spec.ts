import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { RunSpec, RunState } from '@pairwise/api';
import { openDatabase } from '@pairwise/database';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { startPlatform } from 'pairwise/up/platform';
import { writeNextBuild } from './nextBuild.ts';
import { startTestPlatform, temporaryFolder, type TestPlatform } from './platform.ts';
import { tinyPairs, writeTinyModel } from '@pairwise/testing';

// Runs that start on this build and finish on the next one, which migrates the schemas in between.

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

/** The runs differ only in how often they save a checkpoint. */
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

/** Waits until a run succeeds. Returns the digest of its adapter. */
async function finish(name: string): Promise<string> {
  const ended = await platform.untilEnded(name);
  expect(ended.error).toBeUndefined();
  expect(ended.state).toBe(RunState.SUCCEEDED);
  return ended.outputs!.adapterDigest;
}

/** Starts a run and waits until its second step is done. Returns its name. */
async function untilTraining(id: string, saveSteps: number): Promise<string> {
  const { name } = await platform.createRun(id, specOf(saveSteps));
  for await (const { payload } of platform.orchestrator.watchRun({ name, resumeToken: '' })) {
    if (payload?.$case === 'metrics' && payload.value.step > 1) return name;
  }
  throw new Error(`${name} ended before its second step was seen`);
}

async function migrationsOf(schema: string): Promise<string[]> {
  const database = openDatabase({ url: platform.platform.databaseUrl, schema });
  const rows = await database.rows<{ id: string }>('select id from migrations order by position');
  await database.close();
  return rows.map(({ id }) => id);
}

/** Starts the next build on the data of this one, and waits until it has finished the run. */
async function finishedByNext(id: string, name: string): Promise<void> {
  const stopped = Date.now();
  // Its sources are in a new folder each time, so caching their compiled code for later is useless.
  platform = await startTestPlatform(folder, { NODE_COMPILE_CACHE: join(folder, 'compiled') }, [], startNext);
  expect((await platform.orchestrator.getServerInfo({})).version).toBe(version);
  expect((await platform.orchestrator.getRun({ name })).run?.state).toBe(RunState.RUNNING);
  expect(await finish(name)).toBe(undisturbed);
  const training = { parent: `projects/default/trainings/${id}`, pageSize: 0, pageToken: '' };
  const { checkpoints } = await platform.training.listCheckpoints(training);
  // This build did some of the steps and saved a checkpoint; the next one did the rest.
  const [before, after] = [true, false].map((is) =>
    checkpoints.filter(({ createTime }) => +createTime! < stopped === is),
  );
  expect(before!.at(-1)!.step).toBeGreaterThan(0);
  expect(after!.at(-1)!.step).toBe(steps);
  for (const schema of Object.keys(added)) expect((await migrationsOf(schema)).at(-1)).toBe('9999-next');
}

test('the next build continues a run whose training this one had to stop', async () => {
  expect((await platform.orchestrator.getServerInfo({})).version).not.toBe(version);
  const name = await untilTraining('stopped', steps);
  // Before all others, so that the training cannot end while they are still stopping.
  process.kill(platform.platform.pid('training-worker')!, 'SIGTERM');
  await platform.stop();
  await finishedByNext('stopped', name);
});

test('this build works with the schemas of the next one, which finishes a run whose processes were killed', async () => {
  await platform.stop();
  platform = await startTestPlatform(folder);
  expect((await platform.orchestrator.getServerInfo({})).version).not.toBe(version);
  const name = await untilTraining('killed', 1);
  process.kill(platform.platform.pid('postgres')!, 'SIGKILL');
  platform.platform.kill();
  await platform.stop();
  await finishedByNext('killed', name);
});
