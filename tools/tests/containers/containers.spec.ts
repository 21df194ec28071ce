import { chmodSync, cpSync } from 'node:fs';
import { join } from 'node:path';
import { RunSpec, RunState, type Run } from '@pairwise/api';
import { versionIn } from '@pairwise/rpc';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { processChecks } from 'pairwise/doctor/processes';
import { startTestPlatform, temporaryFolder } from '@pairwise/tool-e2e/platform';
import { sharedFolder, tinyPairs, writeTinyModel } from '@pairwise/testing';
import { dockerIsRunning } from '@pairwise/tool-images/docker';
import { secret } from './backends.ts';
import { type ContainerPlatform, startContainers } from './testing.ts';

// Runs the images of `npm run images` on their own network and calls them from outside over gRPC. The results must equal
// those of the same sources without containers.

const version = versionIn(new URL('../../../package.json', import.meta.url));
const hasDocker = await dockerIsRunning();
if (!hasDocker) process.stderr.write('SKIPPED: no Docker daemon is running, so the images are not tested\n');

const shared = sharedFolder();
const stories = shared && join(shared, 'models/stories260K');

const { folder, remove } = temporaryFolder();
let platform: ContainerPlatform;
/** Digests of the adapters that are trained without containers, by model. */
const expected: Record<string, string> = {};

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

/** Trains adapters without containers. */
async function runOutside(models: readonly string[]): Promise<void> {
  const direct = await startTestPlatform(folder);
  try {
    const datasetVersion = await direct.importDataset('outside', pairs);
    for (const model of models) {
      const { name } = await direct.createRun(model, specOf(join(folder, model), datasetVersion));
      const ended = await direct.untilEnded(name);
      expect(ended.error).toBeUndefined();
      expected[model] = ended.outputs!.adapterDigest;
    }
  } finally {
    await direct.stop();
  }
}

/** Runs in the containers, on a model with a digest of its own. `during` has a function for each stage, called as it begins. */
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
  expect(ended.outputs!.adapterDigest).toBe(expected[model]);
}

describe.skipIf(!hasDocker)('containers', () => {
  beforeAll(async () => {
    // The user of the images must be able to read the models.
    chmodSync(folder, 0o755);
    for (const id of ['tiny', 'worker', 'orchestrator', 'postgres']) writeTinyModel(join(folder, id), id);
    if (stories !== undefined) cpSync(stories, join(folder, 'stories'), { recursive: true });
    await runOutside(stories === undefined ? ['tiny'] : ['tiny', 'stories']);
    platform = await startContainers(folder, version);
    return platform.stop;
  });

  afterAll(remove);

  test('a run in containers gives the same adapter as one without', async () => {
    expectSuccess(await run('tiny'));
  });

  test.skipIf(stories === undefined)('and so does a run on a real model', async () => {
    expectSuccess(await run('stories'), 'stories');
  });

  test('a run survives a reference worker that is killed and replaced', async () => {
    const ended = await run('worker', {
      reference: async () => {
        await platform.workers.reference.stop({ timeout: 0 });
        platform.workers.reference = await platform.startWorker('reference');
      },
    });
    expectSuccess(ended);
    expect(ended.outputs!.referenceComputedCount).toBe(1200);
  });

  test('a run survives the replacement of the orchestrator', async () => {
    const ended = await run('orchestrator', {
      train: async () => {
        const old = platform.services.orchestrator;
        platform.services.orchestrator = await platform.startService('orchestrator', 1);
        await old.stop({ timeout: 30_000 });
      },
    });
    expectSuccess(ended);
  });

  test('a run survives a restart of Postgres', async () => {
    expectSuccess(await run('postgres', { train: () => platform.postgres.restart() }));
  });

  test.each([
    ['no token', {}, 'UNAUTHENTICATED'],
    ['a wrong token', { token: 'a-token-that-nobody-has' }, 'UNAUTHENTICATED'],
    ["a reader's token", { token: secret.readerToken }, 'PERMISSION_DENIED'],
    ['the certificate of a process that may not call it', { certificateOf: 'reference' }, 'PERMISSION_DENIED'],
  ])('nothing can be changed with %s', async (_, shown, reason) => {
    const { training, orchestrator, ...others } = platform.clientsWith(shown);
    const [name, requestId] = ['projects/default/runs/tiny', ''];
    await expect(orchestrator.deleteRun({ name, etag: '', requestId })).rejects.toMatchObject({ reason });
    await expect(training.cancelTraining({ name, requestId: '' })).rejects.toMatchObject({ reason });
    for (const client of [training, orchestrator, ...Object.values(others)]) client.close();
  });

  test('a reader can read, and a process needs only its certificate to call its peers', async () => {
    const reader = platform.clientsWith({ token: secret.readerToken });
    expect((await reader.orchestrator.getRun({ name: 'projects/default/runs/tiny' })).run?.state).toBe(
      RunState.SUCCEEDED,
    );
    const peer = platform.clientsWith({ certificateOf: 'orchestrator' });
    const { training } = await peer.training.getTraining({ name: 'projects/default/trainings/tiny' });
    expect(training?.resolvedSpec?.saveSteps).toBe(2);
    for (const client of [...Object.values(reader), ...Object.values(peer)]) client.close();
  });

  test('doctor finds every process healthy, over TLS and with blobs in a bucket', async () => {
    const checks = processChecks((await platform.diagnostics.diagnose({})).processes);
    expect(checks.filter(({ state }) => state !== 'ok')).toEqual([]);
    const names = checks.map(({ check }) => check);
    expect(names).toEqual(expect.arrayContaining(['dataset: blob store', 'orchestrator: database']));
    expect(names).toEqual(expect.arrayContaining(['reference: queue accelerator', 'training: queue accelerator']));
  });

  test('the trace of a run covers all processes', async () => {
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
