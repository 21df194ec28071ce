import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { BaseQuantization, QuantizationState, RunSpec, RunState, type Run } from '@pairwise/api';
import { tinyPairs, writeTinyModel } from '@pairwise/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestPlatform, temporaryFolder, type TestPlatform } from './platform.ts';

// Runs that train on a base model in NF4, through every service.

const { NF4 } = BaseQuantization;
const { folder, remove } = temporaryFolder();
let platform: TestPlatform;
let datasetVersion: string;

beforeAll(async () => {
  writeTinyModel(join(folder, 'model'));
  platform = await startTestPlatform(folder);
  datasetVersion = await platform.importDataset('pairs', Buffer.from(tinyPairs(48)));
});

afterAll(async () => {
  await platform.stop();
  remove();
});

async function finish(id: string, baseQuantization: BaseQuantization, learningRate = 1e-2) {
  const spec = RunSpec.fromPartial({
    model: { source: { $case: 'uri', value: `file://${folder}/model` } },
    datasetVersion,
    training: { baseQuantization, learningRate, batchSize: 8, tuning: { $case: 'lora', value: { r: 4 } } },
    exportTargets: [{ format: { $case: 'adapter', value: {} } }, { format: { $case: 'gguf', value: { type: 'F16' } } }],
  });
  const losses: number[] = [];
  const { name } = await platform.createRun(id, spec);
  const run = await platform.untilEnded(name, ({ payload }) => {
    if (payload?.$case !== 'metrics') return;
    const { loss } = payload.value.values;
    if (loss !== undefined) losses.push(loss);
  });
  expect(run.error).toBeUndefined();
  expect(run.state).toBe(RunState.SUCCEEDED);
  return { run, losses };
}

const quantizationsOf = async ({ outputs }: Run) =>
  (await platform.model.getModel({ name: outputs!.model })).model!.quantizations;

test('a run trains on a base model in NF4, and its adapter is exported for the full weights', async () => {
  const { run, losses } = await finish('first', NF4);
  expect(Math.abs(losses[0]! - Math.LN2)).toBeLessThan(1e-4);
  expect(losses.at(-1)).toBeLessThan(0.6);
  expect(run.outputs).toMatchObject({ referenceComputedCount: 96, referenceReusedCount: 0 });
  expect(run.resolvedSpec!.training!.baseQuantization).toBe(NF4);
  expect(await quantizationsOf(run)).toEqual([expect.objectContaining({ type: NF4, state: QuantizationState.READY })]);

  const { verification } = run.outputs!.artifacts.find(({ format }) => format === 'gguf')!;
  expect(verification!.maxAbsLogpDiff).toBeLessThan(0.02);
  const { name } = run.outputs!.artifacts[0]!;
  const chunks: Buffer[] = [];
  for await (const { chunk } of platform.export.downloadArtifact({ name, path: 'README.md', offsetBytes: 0n })) {
    chunks.push(chunk);
  }
  expect(Buffer.concat(chunks).toString()).toContain('its linear layers were quantised to `NF4`');
});

test('another run finds the quantisation and its logps; a run on the full weights has logps of its own', async () => {
  const { run: again, losses } = await finish('again', NF4, 5e-3);
  expect(again.outputs).toMatchObject({ referenceComputedCount: 0, referenceReusedCount: 96 });
  expect(Math.abs(losses[0]! - Math.LN2)).toBeLessThan(1e-4);
  const { run: plain } = await finish('plain', BaseQuantization.NONE);
  expect(plain.outputs).toMatchObject({ model: again.outputs!.model, referenceComputedCount: 96 });
  expect(await quantizationsOf(plain)).toHaveLength(1);
});

test('the command line shows the quantisation of a run and of a model', async () => {
  const program = fileURLToPath(import.meta.resolve('pairwise/main'));
  const pairwise = async (...words: string[]) => {
    const all = [program, '--address', platform.platform.address, ...words];
    return (await promisify(execFile)(process.execPath, all, { env: { ...process.env, FORCE_COLOR: '0' } })).stdout;
  };
  expect(await pairwise('runs', 'get', 'first')).toMatch(/base quantisation +NF4\n/);
  const { run } = await platform.orchestrator.getRun({ name: 'projects/default/runs/first' });
  expect(await pairwise('models', 'inspect', run!.outputs!.model)).toMatch(/quantisations +NF4 ready \(/);
});
