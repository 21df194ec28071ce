import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { RunSpec, RunState } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestPlatform, temporaryFolder, type TestPlatform } from './platform.ts';
import { tinyPairs, writeTinyModel } from '@pairwise/testing';

// Kills every process with SIGKILL as each stage of a run begins. The run must still succeed, with the bytes of an
// undisturbed one, and must not repeat finished work.

const stages = ['validate', 'reference', 'train', 'export', 'verify'];

const { folder, remove } = temporaryFolder();
let platform: TestPlatform;
let undisturbed: string;

beforeAll(async () => {
  platform = await startTestPlatform(folder);
  undisturbed = (await run('undisturbed', () => undefined)).adapterDigest;
});

afterAll(async () => {
  await platform.stop();
  remove();
});

/** Waits until the services that the test calls directly are back. */
async function untilBack() {
  const { dataset, reference, orchestrator } = platform;
  const page = { parent: 'projects/default', pageSize: 1, pageToken: '' };
  const name = 'projects/default/coverages/none';
  const isUnavailable = (error: unknown) => error instanceof PairwiseError && error.reason === 'UNAVAILABLE';
  for (;;) {
    const calls = [dataset.listDatasets(page), reference.getCoverage({ name }), orchestrator.listRuns(page)];
    const settled = await Promise.allSettled<unknown>(calls);
    if (!settled.some((each) => each.status === 'rejected' && isUnavailable(each.reason))) return;
  }
}

/** Runs on a model with its own digest, so that no reference logps can be reused. The weights are the same in all. */
async function run(id: string, began: (stage: string) => Promise<void> | void) {
  writeTinyModel(join(folder, id), id);
  await untilBack();
  const datasetVersion = await platform.importDataset(id, Buffer.from(tinyPairs(600)));
  const spec = RunSpec.fromPartial({
    model: { source: { $case: 'uri', value: `file://${folder}/${id}` } },
    datasetVersion,
    training: {
      learningRate: 1e-2,
      duration: { $case: 'maxSteps', value: 8 },
      saveSteps: 3,
      tuning: { $case: 'lora', value: { r: 4 } },
    },
    exportTargets: [{ format: { $case: 'adapter', value: {} } }, { format: { $case: 'gguf', value: { type: 'F16' } } }],
  });
  const { name } = await platform.createRun(id, spec);
  const seen = new Set<string>();
  const ended = await platform.untilEnded(name, async ({ payload }) => {
    if (payload?.$case !== 'event' || payload.value.type !== 'stage.started' || seen.has(payload.value.stage)) return;
    seen.add(payload.value.stage);
    await began(payload.value.stage);
  });
  expect(ended.error).toBeUndefined();
  expect(ended.state).toBe(RunState.SUCCEEDED);
  expect([...seen]).toEqual(stages);
  const { outputs } = ended;
  await untilBack();
  const { coverage } = await platform.reference.getCoverage({ name: outputs!.coverage });
  return { adapterDigest: outputs!.adapterDigest, coverage: coverage! };
}

/** Kills a process now, or as soon as it is running again. */
async function kill(name: Victim) {
  for (;;) {
    const pid = platform.platform.pid(name);
    if (pid !== undefined) {
      process.kill(pid, 'SIGKILL');
      return;
    }
    await sleep(20);
  }
}

const victims = [
  'dataset',
  'reference',
  'reference-worker',
  'training',
  'training-worker',
  'export',
  'orchestrator',
  'postgres',
] as const;
type Victim = (typeof victims)[number];

// Two runs per process. In each, the stages in which it is killed are far apart, so that it is back for the next one: the
// pause before a restart grows each time.
const cases = [
  ['validate', 'train', 'verify'],
  ['reference', 'export'],
].flatMap((killedIn) => victims.map((victim): [Victim, string[]] => [victim, killedIn]));

test.each(cases)('%s is killed in %j', async (victim, killedIn) => {
  const { adapterDigest, coverage } = await run(`${victim}-killed-in-${killedIn[0]}`, async (stage) => {
    if (killedIn.includes(stage)) await kill(victim);
  });
  expect(adapterDigest).toBe(undisturbed);
  expect([coverage.computedCount, coverage.reusedCount]).toEqual([coverage.responseCount, 0]);
  const units = platform.log.filter((line) => line.includes('computed a unit') && line.includes(coverage.name));
  const starts = units.map((line) => (JSON.parse(line) as { start: number }).start);
  expect(starts.length).toBeGreaterThan(0);
  expect(new Set(starts).size).toBe(starts.length);
});
