import { join } from 'node:path';
import { RunSpec, RunState } from '@pairwise/api';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestPlatform, temporaryFolder, type TestPlatform } from './platform.ts';
import { tinyPairs, writeTinyModel } from './tinyModel.ts';

// Every process is killed by SIGKILL as each stage of a run begins. The run must end by itself with the bytes of an
// undisturbed one, and nothing that was finished may be computed again.

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

/** A run on a model whose digest is its own, so that it finds no reference logps; the arithmetic is the same in all. */
async function run(id: string, kill: (stage: string) => void) {
  writeTinyModel(join(folder, id), id);
  const datasetVersion = await platform.importDataset(id, Buffer.from(tinyPairs(64)));
  const spec = RunSpec.fromPartial({
    model: { source: { $case: 'uri', value: `file://${folder}/${id}` } },
    datasetVersion,
    training: { learningRate: 1e-2, saveSteps: 3, tuning: { $case: 'lora', value: { r: 4 } } },
    exportTargets: [{ format: { $case: 'adapter', value: {} } }, { format: { $case: 'gguf', value: { type: 'F16' } } }],
  });
  const { name } = await platform.createRun(id, spec);
  const seen = new Set<string>();
  const ended = await platform.untilEnded(name, ({ payload }) => {
    if (payload?.$case !== 'event' || payload.value.type !== 'stage.started' || seen.has(payload.value.stage)) return;
    seen.add(payload.value.stage);
    kill(payload.value.stage);
  });
  expect(ended.error).toBeUndefined();
  expect(ended.state).toBe(RunState.SUCCEEDED);
  expect([...seen]).toEqual(['validate', 'reference', 'train', 'export', 'verify']);
  const { outputs } = ended;
  const { coverage } = await platform.reference.getCoverage({ name: outputs!.coverage });
  return { adapterDigest: outputs!.adapterDigest, coverage: coverage! };
}

test.each([
  'dataset',
  'reference',
  'reference-worker',
  'training',
  'training-worker',
  'export',
  'orchestrator',
  'postgres',
] as const)('%s is killed in every stage', async (process_) => {
  const killed: number[] = [];
  const { adapterDigest, coverage } = await run(`killed-${process_}`, () => {
    const pid = platform.platform.pid(process_);
    if (pid === undefined) return;
    process.kill(pid, 'SIGKILL');
    killed.push(pid);
  });
  expect(killed.length).toBeGreaterThanOrEqual(4);
  expect(adapterDigest).toBe(undisturbed);
  expect([coverage.computedCount, coverage.reusedCount]).toEqual([coverage.responseCount, 0]);
  const units = platform.log.filter((line) => line.includes('computed a unit') && line.includes(coverage.name));
  const starts = units.map((line) => (JSON.parse(line) as { start: number }).start);
  expect(new Set(starts).size).toBe(starts.length);
});
