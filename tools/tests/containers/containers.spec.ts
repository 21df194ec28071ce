import { chmodSync, cpSync } from 'node:fs';
import { join } from 'node:path';
import { RunSpec, RunState, type Run } from '@pairwise/api';
import { versionIn } from '@pairwise/rpc';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { processChecks } from 'pairwise/doctor/processes';
import { startTestPlatform, temporaryFolder } from '@pairwise/tool-e2e/platform';
import { sharedFolder, tinyPairs, writeTinyModel } from '@pairwise/testing';
import { dockerAnswers } from '@pairwise/tool-images/docker';
import { secret } from './backends.ts';
import { type ContainerPlatform, startContainers } from './testing.ts';

// The images of `npm run images`, on a network of their own, called from outside over gRPC. What they compute must be
// what the same sources compute on the bare machine.

const version = versionIn(new URL('../../../package.json', import.meta.url));
const hasDocker = await dockerAnswers();
if (!hasDocker) process.stderr.write('SKIPPED: no Docker daemon answers, so the images are not tested\n');

const shared = sharedFolder();
const stories = shared && join(shared, 'models/stories260K');

const { folder, remove } = temporaryFolder();
let platform: ContainerPlatform;
/** Digests of the adapters that the bare machine makes, by model. */
const bare: Record<string, string> = {};

const specOf = (model: string, datasetVersion: string) =>
  RunSpec.fromPartial({
    model: { source: { $case: 'uri', value: `file://${model}` } },
    datasetVersion,
    training: {
      learningRate: 1e-3,
      duration: { $case: 'maxSteps', value: 8 },
      saveSteps: 2,
      tuning: { $case: 'lora', value: { r: 4 } },
    },
    exportTargets: [{ format: { $case: 'adapter', value: {} } }, { format: { $case: 'gguf', value: { type: 'F16' } } }],
  });

const pairs = Buffer.from(tinyPairs(600));

/** What the bare machine makes of models. */
async function runBare(models: readonly string[]): Promise<void> {
  const direct = await startTestPlatform(folder);
  try {
    const datasetVersion = await direct.importDataset('bare', pairs);
    for (const model of models) {
      const { name } = await direct.createRun(model, specOf(join(folder, model), datasetVersion));
      const ended = await direct.untilEnded(name);
      expect(ended.error).toBeUndefined();
      bare[model] = ended.outputs!.adapterDigest;
    }
  } finally {
    await direct.stop();
  }
}

/** A run in the containers, on a model whose digest is its own; `during` is called as a stage begins. */
async function run(id: string, during: Partial<Record<string, () => Promise<void>>> = {}): Promise<Run> {
  const datasetVersion = await platform.importDataset(id, pairs);
  const { name } = await platform.createRun(id, specOf(`${platform.models}/${id}`, datasetVersion));
  const seen = new Set<string>();
  return platform.untilEnded(name, async ({ payload }) => {
    if (payload?.$case !== 'event' || payload.value.type !== 'stage.started' || seen.has(payload.value.stage)) return;
    seen.add(payload.value.stage);
    await during[payload.value.stage]?.();
  });
}

function expectSuccess(ended: Run, model = 'tiny'): void {
  expect(ended.error).toBeUndefined();
  expect(ended.state).toBe(RunState.SUCCEEDED);
  expect(ended.outputs!.adapterDigest).toBe(bare[model]);
}

describe.skipIf(!hasDocker)('containers', () => {
  beforeAll(async () => {
    // The user of the images reads the models.
    chmodSync(folder, 0o755);
    for (const id of ['tiny', 'worker', 'orchestrator', 'postgres']) writeTinyModel(join(folder, id), id);
    if (stories !== undefined) cpSync(stories, join(folder, 'stories'), { recursive: true });
    await runBare(stories === undefined ? ['tiny'] : ['tiny', 'stories']);
    platform = await startContainers(folder, version);
    return platform.stop;
  });

  afterAll(remove);

  test('a whole run gives the adapter of the bare machine', async () => {
    expectSuccess(await run('tiny'));
  });

  test.skipIf(stories === undefined)('so does one on a real model', async () => {
    expectSuccess(await run('stories'), 'stories');
  });

  test('a reference worker is killed and another one added in mid-run', async () => {
    const ended = await run('worker', {
      reference: async () => {
        await platform.workers.reference.stop({ timeout: 0 });
        platform.workers.reference = await platform.startWorker('reference');
      },
    });
    expectSuccess(ended);
    expect(ended.outputs!.referenceComputedCount).toBe(1200);
  });

  test('the orchestrator is replaced in mid-run', async () => {
    const ended = await run('orchestrator', {
      train: async () => {
        const old = platform.services.orchestrator;
        platform.services.orchestrator = await platform.startService('orchestrator', 1);
        await old.stop({ timeout: 30_000 });
      },
    });
    expectSuccess(ended);
  });

  test('Postgres is restarted in mid-run', async () => {
    expectSuccess(await run('postgres', { train: () => platform.postgres.restart() }));
  });

  test.each([
    ['no token', {}, 'UNAUTHENTICATED'],
    ['a wrong token', { token: 'a-token-that-nobody-has-been-given' }, 'UNAUTHENTICATED'],
    ["a reader's token", { token: secret.readerToken }, 'PERMISSION_DENIED'],
    ['the certificate of a process that has no business there', { certificateOf: 'reference' }, 'PERMISSION_DENIED'],
  ])('with %s nothing can be changed', async (_, shown, reason) => {
    const { training, orchestrator, ...others } = platform.clientsWith(shown);
    const [name, requestId] = ['projects/default/runs/tiny', ''];
    await expect(orchestrator.deleteRun({ name, etag: '', requestId })).rejects.toMatchObject({ reason });
    await expect(training.cancelTraining({ name })).rejects.toMatchObject({ reason });
    for (const client of [training, orchestrator, ...Object.values(others)]) client.close();
  });

  test('a reader reads, and a process calls whom it has to call, by its certificate alone', async () => {
    const reader = platform.clientsWith({ token: secret.readerToken });
    expect((await reader.orchestrator.getRun({ name: 'projects/default/runs/tiny' })).run?.state).toBe(
      RunState.SUCCEEDED,
    );
    const peer = platform.clientsWith({ certificateOf: 'orchestrator' });
    const { training } = await peer.training.getTraining({ name: 'projects/default/trainings/tiny' });
    expect(training?.resolvedSpec?.saveSteps).toBe(2);
    for (const client of [...Object.values(reader), ...Object.values(peer)]) client.close();
  });

  test('doctor finds every process well, over TLS and with its blobs in the bucket', async () => {
    const checks = processChecks((await platform.diagnostics.diagnose({})).processes);
    expect(checks.filter(({ state }) => state !== 'ok')).toEqual([]);
    const names = checks.map(({ check }) => check);
    expect(names).toEqual(expect.arrayContaining(['dataset: blob store', 'orchestrator: database']));
    expect(names).toEqual(expect.arrayContaining(['reference: queue accelerator', 'training: queue accelerator']));
  });

  test('all processes of a run are in its trace', async () => {
    const { run } = await platform.orchestrator.getRun({ name: 'projects/default/runs/tiny' });
    const spans = platform.collector.spans.filter(({ traceId }) => traceId === run!.traceId);
    expect([...new Set(spans.map(({ service }) => service))].sort()).toEqual(
      ['dataset', 'export', 'orchestrator', 'reference', 'reference-worker', 'training', 'training-worker'].sort(),
    );
  });

  test('no secret is in any log line, span or metric', () => {
    const { spans, points, lines } = platform.collector;
    const everything = platform.logs.join('\n') + JSON.stringify({ spans, points, lines });
    expect(everything).toContain('The run succeeded.');
    for (const value of Object.values(secret)) expect(everything).not.toContain(value);
    expect(everything).not.toContain('PRIVATE KEY');
  });
});
