import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdirSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { RunSpec, RunState, StageState, type MetricPoint, type Run, type RunEvent } from '@pairwise/api';
import { digestOf } from '@pairwise/fingerprint';
import { startTestPushHub, type TestPushHub } from '@pairwise/hub/testing';
import { errorOf } from '@pairwise/rpc';
import { registry } from '@pairwise/telemetry';
import { startCollector, type CollectedSpan, type Collector } from '@pairwise/telemetry/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestPlatform, temporaryFolder, type TestPlatform } from './platform.ts';
import { tinyPairs, writeTinyModel } from '@pairwise/testing';

// Runs through every service of one platform, on a model with random weights.

const { folder, remove } = temporaryFolder();
let collector: Collector;
let hub: TestPushHub;
let platform: TestPlatform;
let spec: RunSpec;

beforeAll(async () => {
  writeTinyModel(join(folder, 'model'));
  collector = await startCollector();
  hub = await startTestPushHub({ token: 'hf_token', owner: 'my-org' });
  platform = await startTestPlatform(folder, {
    ...collector.environment,
    HF_ENDPOINT: hub.endpoint,
    HF_TOKEN: 'hf_token',
    PAIRWISE_HUB_PUSH_NAMESPACES: 'my-org',
  });
  const datasetVersion = await platform.importDataset('pairs', Buffer.from(tinyPairs(48)));
  spec = RunSpec.fromPartial({
    model: { source: { $case: 'uri', value: `file://${folder}/model` } },
    datasetVersion,
    evaluation: { $case: 'evalFraction', value: 0.2 },
    training: { learningRate: 1e-2, saveSteps: 2, batchSize: 8, tuning: { $case: 'lora', value: { r: 4 } } },
    exportTargets: [
      { format: { $case: 'adapter', value: {} } },
      { format: { $case: 'merged', value: { dtype: 'F32' } } },
      { format: { $case: 'gguf', value: { type: 'F16' } } },
      { format: { $case: 'gguf', value: { type: 'Q8_0' } } },
      { format: { $case: 'gguf', value: { type: 'IQ4_NL' } } },
      { format: { $case: 'ggufAdapter', value: {} } },
    ],
  });
});

afterAll(async () => {
  await platform.stop();
  await collector.stop();
  await hub.close();
  remove();
});

let first: Run;

test('a run goes through every stage, and its metrics are plausible', async () => {
  const events: RunEvent[] = [];
  const points: MetricPoint[] = [];
  const created = await platform.createRun('first', spec);
  expect(created.state).toBe(RunState.QUEUED);
  first = await platform.untilEnded(created.name, ({ payload }) => {
    if (payload?.$case === 'event') events.push(payload.value);
    if (payload?.$case === 'metrics') points.push(payload.value);
  });
  expect(first.error).toBeUndefined();
  expect(first.state).toBe(RunState.SUCCEEDED);
  expect(first.stages.map(({ name, state }) => [name, state])).toEqual(
    ['validate', 'reference', 'train', 'export', 'verify'].map((name) => [name, StageState.SUCCEEDED]),
  );
  // The files for llama.cpp are verified.
  const [exported, verifying] = first.stages.slice(3).map(({ progress }) => progress);
  expect(exported).toMatchObject({ completedCount: 6n, totalCount: 6n, unit: 'artifacts' });
  expect(verifying).toMatchObject({ completedCount: 4n, totalCount: 4n, unit: 'artifacts' });

  const evaluations = points.filter(({ values }) => 'eval_loss' in values);
  const training = points.filter(({ values }) => 'loss' in values);
  expect(training.map(({ step }) => step)).toEqual(training.map((_, index) => index + 1));
  expect(Math.abs(training[0]!.values['loss']! - Math.LN2)).toBeLessThan(1e-4);
  expect(training.at(-1)!.values['loss']).toBeLessThan(0.6);
  expect(evaluations.map(({ step }) => step)).toEqual([0, training.length]);
  expect(Math.abs(evaluations[0]!.values['eval_loss']! - Math.LN2)).toBeLessThan(1e-4);

  expect(events.map(({ sequence }) => sequence)).toEqual(events.map((_, index) => BigInt(index + 1)));
  expect(events.map(({ type }) => type)).toContain('reference.complete');
  const { outputs } = first;
  expect(outputs!.referenceComputedCount).toBe(96);
  expect(outputs!.referenceReusedCount).toBe(0);
  const verified = outputs!.artifacts.filter(({ format }) => format.startsWith('gguf'));
  expect(verified.map(({ type }) => type)).toEqual(['F16', 'Q8_0', 'IQ4_NL', 'F32']);
  for (const { verification, samples } of verified) {
    expect(verification!.tokenCount).toBeGreaterThan(100);
    // Prompts and responses of 48 pairs, and probes.
    expect(verification!.textCount).toBeGreaterThan(2 * 48);
    expect(samples.map(({ base, tuned }) => [typeof base, typeof tuned])).toEqual(Array(4).fill(['string', 'string']));
  }
  expect(verified[0]!.verification!.maxAbsLogpDiff).toBeLessThan(0.02);
  const { policy, base, margin } = verified[1]!.verification!.quantizationCost!;
  expect(policy!.margin! / margin!).toBeCloseTo(1, 1);
  expect(base!.top1Agreement).toBeGreaterThan(0.8);
});

test('other users cannot read any of the data', () => {
  const data = join(folder, 'data');
  // If we are root, Postgres runs as another user, whose group must be able to enter its own folder.
  expect(statSync(data).mode & 0o777).toBe(process.getuid?.() === 0 ? 0o710 : 0o700);
  const open = readdirSync(data, { recursive: true, withFileTypes: true })
    .map((entry) => ({ path: join(entry.parentPath, entry.name), isFolder: entry.isDirectory() }))
    // Node creates the folders of its compile cache itself.
    .filter(({ path, isFolder }) => !(isFolder && relative(data, path).startsWith('compiled')))
    .filter(({ path }) => (statSync(path).mode & 0o077) !== 0);
  expect(open).toEqual([]);
});

test('watching from a token gives the rest, without gaps', async () => {
  const tokens: string[] = [];
  for await (const { payload, resumeToken } of platform.orchestrator.watchRun({ name: first.name, resumeToken: '' })) {
    if (payload?.$case === 'event' || payload?.$case === 'metrics') tokens.push(resumeToken);
  }
  expect(tokens).toEqual(tokens.map((_, index) => String(index + 1)));
  const rest: string[] = [];
  for await (const { payload, resumeToken } of platform.orchestrator.watchRun({
    name: first.name,
    resumeToken: tokens[4]!,
  })) {
    if (payload?.$case === 'event' || payload?.$case === 'metrics') rest.push(resumeToken);
  }
  expect(rest).toEqual(tokens.slice(5));
});

test('artifacts download completely, with the right digests', async () => {
  for (const { name, files } of first.outputs!.artifacts) {
    for (const { path, digest, sizeBytes } of files) {
      const hash = createHash('sha256');
      let size = 0n;
      for await (const { chunk } of platform.export.downloadArtifact({ name, path, offsetBytes: 0n })) {
        hash.update(chunk);
        size += BigInt(chunk.length);
      }
      expect([`sha256:${hash.digest('hex')}`, size]).toEqual([digest, sizeBytes]);
    }
  }
  const [artifact] = first.outputs!.artifacts;
  const escape = platform.export.downloadArtifact({
    name: artifact!.name,
    path: '../../../etc/passwd',
    offsetBytes: 0n,
  });
  await expect(escape.next()).rejects.toMatchObject({ reason: 'NOT_FOUND', field: 'path' });
});

test('the command line pushes an artifact to the hub', async () => {
  const program = fileURLToPath(import.meta.resolve('pairwise/main'));
  const pairwise = (...words: string[]) =>
    new Promise<{ code: unknown; output: string }>((resolve) => {
      const all = [program, '--address', platform.platform.address, 'artifacts', 'push', ...words];
      execFile(process.execPath, all, (error, stdout, stderr) =>
        resolve({ code: error?.code ?? 0, output: stdout + stderr }),
      );
    });
  const { code, output } = await pairwise('first/merged-f32', '--repo', 'my-org/tiny', '--message', 'First try');
  expect([code, output]).toEqual([0, expect.stringContaining(`${hub.endpoint}/my-org/tiny/commit/`)]);
  const { message, files } = hub.repositories.get('my-org/tiny')!.branches.get('main')!.at(-1)!;
  expect(message).toBe('First try');
  const artifact = first.outputs!.artifacts.find(({ name }) => name.endsWith('/merged-f32'))!;
  for (const { path, digest } of artifact.files)
    expect([path, digestOf(files.get(path)!.content)]).toEqual([path, digest]);
  const failed = await pairwise('first/merged-f32', '--repo', 'my-org/tiny', '--public');
  expect(failed.output).toMatch(/is private, but the push says public.*WRONG_STATE/);
  expect(failed.code).toBe(1);
  const unknown = await pairwise('first/none', '--repo', 'my-org/tiny');
  expect(unknown.output).toContain("first has no artifact 'none'; it has adapter");
  expect(unknown.code).toBe(2);
});

test('a second run of the resolved spec reuses every reference logp and gives the same bytes', async () => {
  const again = await platform.createRun('again', first.resolvedSpec!);
  const run = await platform.untilEnded(again.name);
  expect(run.error).toBeUndefined();
  expect(run.outputs!.referenceComputedCount).toBe(0);
  expect(run.outputs!.adapterDigest).toBe(first.outputs!.adapterDigest);
  const digests = (of: Run) =>
    of.outputs!.artifacts.filter(({ format }) => !format.startsWith('gguf')).map(({ digest }) => digest);
  expect(digests(run)).toEqual(digests(first));
});

test('a cancelled run keeps its checkpoint, and continues from it when retried', async () => {
  const long = RunSpec.fromPartial({
    ...spec,
    training: { ...spec.training, duration: { $case: 'maxSteps', value: 600 }, saveSteps: 5 },
    exportTargets: [{ format: { $case: 'adapter', value: {} } }],
  });
  const { name } = await platform.createRun('long', long);
  let cancelled = false;
  const stopped = await platform.untilEnded(name, async ({ payload }) => {
    if (payload?.$case !== 'metrics' || payload.value.step < 12 || cancelled) return;
    cancelled = true;
    await platform.orchestrator.cancelRun({ name, requestId: '' });
  });
  expect(stopped.state).toBe(RunState.CANCELLED);
  const parent = stopped.outputs!.training;
  const { checkpoints } = await platform.training.listCheckpoints({ parent, pageSize: 0, pageToken: '' });
  const reached = checkpoints.at(-1)!.step;
  expect(reached).toBeGreaterThanOrEqual(10);
  expect(reached).toBeLessThan(600);

  await platform.orchestrator.retryRun({ name, requestId: '' });
  const { training } = await platform.training.getTraining({ name: parent });
  expect(training!.step).toBeLessThan(600);
  const done = await platform.untilEnded(name);
  expect(done.error).toBeUndefined();
  expect([done.state, done.attempt]).toEqual([RunState.SUCCEEDED, 2]);
  const straight = await platform.createRun('straight', long);
  const { outputs } = await platform.untilEnded(straight.name);
  expect(done.outputs!.adapterDigest).toBe(outputs!.adapterDigest);
});

test('a request id creates one run, and the name of a deleted run is never reused', async () => {
  const request = { parent: 'projects/default', runId: '', spec, requestId: 'one', validateOnly: false };
  const runs = await Promise.all(Array.from({ length: 20 }, () => platform.orchestrator.createRun(request)));
  expect(new Set(runs.map(({ run }) => run!.name)).size).toBe(1);
  const changed = { ...request, runId: 'other' };
  await expect(platform.orchestrator.createRun(changed)).rejects.toMatchObject({ reason: 'REQUEST_ID_REUSED' });
  const { name } = runs[0]!.run!;
  await expect(platform.orchestrator.deleteRun({ name, etag: '', requestId: '' })).rejects.toMatchObject({
    reason: 'WRONG_STATE',
  });
  await platform.untilEnded(name);
  await platform.orchestrator.deleteRun({ name, etag: '', requestId: '' });
  await expect(platform.orchestrator.getRun({ name })).rejects.toMatchObject({ reason: 'NOT_FOUND' });
  const again = { ...request, runId: name.split('/').at(-1)!, requestId: '' };
  await expect(platform.orchestrator.createRun(again)).rejects.toMatchObject({ reason: 'ALREADY_EXISTS' });
});

test('a run fails if its dataset is deleted before it is read', async () => {
  const datasetVersion = await platform.importDataset('short-lived', Buffer.from(tinyPairs(8)));
  const { name } = await platform.createRun('orphan', { ...spec, datasetVersion });
  // So that the run cannot have read the dataset yet.
  process.kill(platform.platform.pid('orchestrator')!, 'SIGKILL');
  await platform.dataset.deleteDataset({ name: 'projects/default/datasets/short-lived', etag: '', requestId: '' });
  const ended = await platform.untilEnded(name);
  expect(ended.state).toBe(RunState.FAILED);
  const { reason, message } = errorOf(ended.error);
  expect(reason).toBe('NOT_FOUND');
  expect(message).toContain(datasetVersion);
  expect(ended.stages[0]).toMatchObject({ name: 'validate', state: StageState.FAILED });
});

test.each<[string, string, string, object]>([
  ['INVALID_ARGUMENT', 'spec.training.beta', 'must be above 0', { training: { beta: -0.1 } }],
  ['NOT_FOUND', 'spec.dataset_version', 'there is no', { datasetVersion: 'projects/default/datasets/none/versions/1' }],
  [
    'PERMISSION_DENIED',
    'spec.model',
    'PAIRWISE_MODEL_ROOTS',
    { model: { source: { $case: 'uri', value: 'file:///etc' } } },
  ],
])('%s: %s', async (reason, field, text, change) => {
  const bad = RunSpec.fromPartial({ ...spec, ...change });
  const error = await platform.createRun('', bad).catch((caught: unknown) => caught);
  expect(error).toMatchObject({ reason, field });
  expect((error as Error).message).toContain(text);
});

test('a field of the spec that the server does not know is refused', async () => {
  const unknown = { ...spec, training: { ...spec.training!, _unknownFields: { 7994: [new Uint8Array([1, 120])] } } };
  await expect(platform.createRun('', unknown)).rejects.toMatchObject({
    reason: 'UNKNOWN_FIELD',
    field: 'spec.training',
  });
});

test('all spans of a run form one trace, from the call to the last step', () => {
  const of = collector.spans.filter(({ traceId }) => traceId === first.traceId);
  const named = (name: string) => of.filter((span) => span.name === name);
  const parentOf = (span: CollectedSpan | undefined) => of.find(({ spanId }) => spanId === span?.parentSpanId);
  const create = named('pairwise.v1.OrchestratorService/CreateRun').find(({ kind }) => kind === 2);
  expect(parentOf(named('send runs')[0])).toBe(create);
  expect(parentOf(named('process runs')[0])).toBe(named('send runs')[0]);
  expect(named('process runs')[0]!.links[0]?.spanId).toBe(named('send runs')[0]!.spanId);
  for (const stage of ['validate', 'reference', 'train', 'export', 'verify']) {
    expect(parentOf(named(`run ${stage}`)[0])?.name, stage).toBe('process runs');
  }
  for (const [queue, service] of [
    ['coverages', 'reference'],
    ['accelerator', 'reference-worker'],
    ['accelerator', 'training-worker'],
    ['exports', 'export'],
  ] as const) {
    const taken = named(`process ${queue}`).find((span) => span.service.endsWith(service));
    expect(parentOf(taken)?.name, `${queue} in ${service}`).toBe(`send ${queue}`);
  }
  expect(parentOf(named('send exports')[0])?.name).toBe('pairwise.v1.ExportService/StartExport');
  // What a model is asked and answers stays out of telemetry.
  const said = first.outputs!.artifacts.flatMap(({ samples }) =>
    samples.flatMap(({ prompt, tuned }) => [prompt, tuned]),
  );
  const recorded = JSON.stringify(of);
  expect(said.filter((text) => text.length > 5 && recorded.includes(JSON.stringify(text).slice(1, -1)))).toEqual([]);
  expect(new Set(of.map(({ attributes }) => attributes['pairwise.run.id']).filter(Boolean))).toEqual(
    new Set([first.name]),
  );
});

test('a run exports every metric as the registry describes it, and no others', () => {
  // These need a dead process, and a container.
  const elsewhere = ['pairwise.lease.expiries', 'pairwise.process.memory.limit'];
  const exported = new Map(collector.points.map((point) => [point.name, point]));
  expect([...exported.keys(), ...elsewhere].sort()).toEqual(
    expect.arrayContaining([...Object.keys(registry), ...elsewhere].sort()),
  );
  for (const { name, kind, unit, description, attributes } of collector.points) {
    const known = registry[name as keyof typeof registry];
    expect({ kind, unit, description }, name).toEqual({
      kind: known.kind,
      unit: known.unit,
      description: known.description,
    });
    // Only failed calls have an error type.
    const own = Object.keys(attributes).filter((key) => key !== 'error.type');
    expect(own.sort(), name).toEqual([...known.attributes].filter((key) => key !== 'error.type').sort());
  }
});

test('the metrics reflect the runs', () => {
  const of = (name: keyof typeof registry, wanted: Record<string, string> = {}) =>
    collector.points.filter(
      (point) => point.name === name && Object.entries(wanted).every(([key, value]) => point.attributes[key] === value),
    );
  const run = { 'pairwise.run.id': first.name };
  expect(of('pairwise.training.loss', { ...run, 'pairwise.split': 'train' }).at(-1)!.value).toBeLessThan(0.6);
  expect(of('pairwise.training.reward.accuracy', { ...run, 'pairwise.split': 'eval' })).not.toEqual([]);
  expect(of('pairwise.reference.misses').at(-1)!.value).toBeGreaterThanOrEqual(96);
  expect(of('pairwise.reference.hits').at(-1)!.value).toBeGreaterThanOrEqual(96);
  expect(of('pairwise.export.size', { 'pairwise.artifact.type': 'Q8_0' }).at(-1)!.value).toBeGreaterThan(1000);
  for (const activity of ['reference', 'train', 'evaluate']) {
    expect(of('pairwise.tokens', { 'pairwise.activity': activity }).at(-1)!.value, activity).toBeGreaterThan(1000);
  }
  const queues = new Set(of('pairwise.queue.depth').map(({ attributes }) => attributes['messaging.destination.name']));
  expect([...queues].sort()).toEqual(['accelerator', 'coverages', 'exports', 'models', 'pushes', 'runs']);
  expect(of('pairwise.runs', { 'pairwise.run.state': 'SUCCEEDED' }).at(-1)!.value).toBeGreaterThanOrEqual(4);
  const stages = of('pairwise.run.progress', run);
  expect(stages.length).toBeGreaterThan(0);
  // The series of a run end with it, although the process that reported them is still running.
  const last = collector.points.findLastIndex(({ name }) => name === 'pairwise.runs');
  expect(collector.points.indexOf(stages.at(-1)!)).toBeLessThan(last);
});

test('log lines reach the collector with the trace of their run', () => {
  const succeeded = collector.lines.find(
    ({ body, attributes }) => body === 'The run succeeded.' && attributes['pairwise.run.id'] === first.name,
  );
  expect(succeeded).toMatchObject({ service: 'orchestrator', severity: 'info', traceId: first.traceId });
});

test('no text of a pair is in any log line, span or metric', () => {
  const words = tinyPairs(48)
    .split('\n')
    .filter(Boolean)
    .map((line) => (JSON.parse(line) as { chosen: string }).chosen.trim());
  const { spans, points, lines } = collector;
  const everything = platform.log.join('\n') + JSON.stringify({ spans, points, lines });
  for (const text of words) expect(everything).not.toContain(text);
});
