import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { ActivationCheckpointing, RunSpec, RunState, type Run } from '@pairwise/api';
import { tinyPairs, writeTinyModel } from '@pairwise/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestPlatform, temporaryFolder, type TestPlatform } from './platform.ts';

// Estimates of runs, and what the runs then do.

const { folder, remove } = temporaryFolder();
const parent = 'projects/default';
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

const specOf = (change: object = {}) =>
  RunSpec.fromPartial({
    model: { source: { $case: 'uri', value: `file://${folder}/model` } },
    datasetVersion,
    training: { batchSize: 8, maxLength: 128, tuning: { $case: 'lora', value: { r: 4 } } },
    exportTargets: [{ format: { $case: 'adapter', value: {} } }],
    ...change,
  });
const imported = ({ outputs }: Run) => specOf({ model: { source: { $case: 'model', value: outputs!.model } } });

let run: Run;

test('before the model is imported, an estimate is of the longest pairs that max_length allows', async () => {
  const { training, reference, pairs } = (await platform.orchestrator.estimateRun({ parent, spec: specOf() }))
    .estimate!;
  expect([reference, pairs]).toEqual([undefined, undefined]);
  expect(training).toMatchObject({ stepCount: 6, workerCount: 1, durationSeconds: undefined });
  expect(training!.memory!.activationBytes).toBeGreaterThan(0n);
});

test('the run pins how it trains, and its worker takes about what was planned', async () => {
  const messages: string[] = [];
  const { name } = await platform.createRun('estimated', specOf());
  run = await platform.untilEnded(name, ({ payload }) => {
    if (payload?.$case === 'event' && payload.value.type === 'training.planned') messages.push(payload.value.message);
  });
  expect([run.error, run.state]).toEqual([undefined, RunState.SUCCEEDED]);
  expect(run.resolvedSpec!.training).toMatchObject({
    activationCheckpointing: ActivationCheckpointing.CHEAP,
    microBatchRows: 1024,
  });
  expect(messages).toEqual([
    expect.stringMatching(/^Training needs 0\.\d GB of memory of its worker's .* for 6 steps/),
  ]);
  const { measuredBytes, processBytes, availableBytes } = run.outputs!.trainingMemory!;
  // Of such a small model, nearly all is the process itself.
  expect(Number(measuredBytes) / Number(processBytes)).toBeGreaterThan(0.5);
  expect(Number(measuredBytes) / Number(processBytes)).toBeLessThan(1.5);
  expect(availableBytes).toBeGreaterThan(1_000_000_000n);
});

test('afterwards, an estimate knows the pairs, the logps in the store, and the rate', async () => {
  const { training, reference, pairs } = (await platform.orchestrator.estimateRun({ parent, spec: imported(run) }))
    .estimate!;
  expect(pairs).toMatchObject({ encodedCount: 48, leftOutCount: 0 });
  expect(reference).toMatchObject({ responseCount: 96, missingCount: 0, durationSeconds: 0 });
  expect(training!.stepCount).toBe(6);
  const request = { parent, runId: '', spec: imported(run), requestId: '', validateOnly: true };
  const { estimate } = await platform.orchestrator.createRun(request);
  expect(estimate).toMatchObject({ reference, pairs, training: { memory: training!.memory } });
});

test('the command line shows an estimate, and the memory of a run', async () => {
  const program = fileURLToPath(import.meta.resolve('pairwise/main'));
  const pairwise = async (...words: string[]) => {
    const all = [program, '--address', platform.platform.address, ...words];
    return (await promisify(execFile)(process.execPath, all, { env: { ...process.env, FORCE_COLOR: '0' } })).stdout;
  };
  const fields = [`model.model=${run.outputs!.model}`, `dataset_version=${datasetVersion}`];
  const shown = await pairwise('runs', 'estimate', ...fields.flatMap((field) => ['--set', field]));
  expect(shown).toMatch(
    /^pairs {6}48, 0 left out\nreference {2}all 96 responses are in the store\ntraining {3}6 steps/,
  );
  expect(shown).toMatch(/activation checkpointing CHEAP, micro-batches of 1,024 tokens/);
  expect(await pairwise('runs', 'get', 'estimated')).toMatch(/memory {3}\d+ MB measured, planned \d+ MB of \d/);
});
