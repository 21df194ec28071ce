import { copyFileSync, cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ExportTarget, ImportPolicy, RunSpec, RunState, TruncationMode } from '@pairwise/api';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { sharedFolder } from '@pairwise/testing';
import { startTestPlatform, temporaryFolder, type TestPlatform } from './platform.ts';

// Whole runs on real models and real preference data.

const shared = sharedFolder();

describe.skipIf(shared === undefined)('real models and data', () => {
  const { folder, remove } = temporaryFolder();
  let platform: TestPlatform;
  let stories: string;
  let few: string;

  beforeAll(async () => {
    platform = await startTestPlatform(folder, {}, [shared!]);
    const rows = readFileSync(join(shared!, 'data/concise-stories/train.jsonl'), 'utf8').split('\n').slice(0, 32);
    stories = await platform.importDataset('stories', Buffer.from(rows.join('\n')));
    few = await platform.importDataset('few', Buffer.from(rows.slice(0, 8).join('\n')));
  });

  afterAll(async () => {
    await platform.stop();
    remove();
  });

  const specOf = (model: string, datasetVersion: string, maxLength: number, maxSteps: number) =>
    RunSpec.fromPartial({
      model: { source: { $case: 'uri', value: `file://${shared}/${model}` } },
      datasetVersion,
      training: {
        maxLength,
        truncationMode: TruncationMode.KEEP_START,
        duration: { $case: 'maxSteps', value: maxSteps },
        learningRate: 1e-3,
        tuning: { $case: 'lora', value: { r: 8 } },
      },
      exportTargets: [
        { format: { $case: 'gguf', value: { type: 'F16' } } },
        { format: { $case: 'adapter', value: {} } },
      ],
    });

  test.each(['llama3', 'llama3-tied-bf16', 'mistral'])('%s trains, exports and verifies', async (name) => {
    const { name: run } = await platform.createRun(name, specOf(`archs/${name}`, stories, 256, 3));
    const ended = await platform.untilEnded(run);
    expect(ended.error).toBeUndefined();
    expect(ended.outputs!.artifacts[0]!.verification!.maxAbsLogpDiff).toBeLessThan(0.05);
  });

  test.each([
    'qwen2-sharded',
    'qwen3',
    'gemma2',
    'gemma3-text',
    'phi3',
    'smollm3',
    'olmo2',
    'granite',
    'qwen3-moe',
    'mistral-swa16',
  ])('%s trains, exports and verifies', async (name) => {
    const spec = specOf(`archs/${name}`, few, 64, 2);
    spec.exportTargets.push(ExportTarget.create({ format: { $case: 'merged', value: {} } }));
    const ended = await platform.untilEnded((await platform.createRun(name, spec)).name);
    expect(ended.error).toBeUndefined();
    const { artifacts } = ended.outputs!;
    expect(artifacts.map(({ format }) => format).sort()).toEqual(['adapter', 'gguf', 'merged']);
    const { verification, caveats } = artifacts.find(({ format }) => format === 'gguf')!;
    // F16 exchanges experts that a router finds nearly equal, which the artifact says.
    const exchanged = caveats.some((caveat) => caveat.includes('through other experts'));
    expect(exchanged).toBe(verification!.maxAbsLogpDiff > 0.05);
    expect(exchanged ? verification!.meanAbsLogpDiff : verification!.maxAbsLogpDiff).toBeLessThan(0.05);
    if (exchanged) expect(name).toBe('qwen3-moe');
    expect(caveats.some((caveat) => caveat.includes('sliding window'))).toBe(name === 'mistral-swa16');
  });

  test('an unknown architecture is refused by name', async () => {
    const architecture = 'InventedForCausalLM';
    const model = join(folder, architecture);
    cpSync(join(shared!, 'archs/qwen3-moe'), model, { recursive: true });
    const file = join(model, 'config.json');
    writeFileSync(file, readFileSync(file, 'utf8').replace('Qwen3MoeForCausalLM', architecture));
    const spec = specOf('', stories, 256, 3);
    spec.model!.source = { $case: 'uri', value: `file://${model}` };
    const error = await platform.createRun('', spec).catch((caught: unknown) => caught);
    expect(error).toMatchObject({ reason: 'UNSUPPORTED_ARCHITECTURE', field: 'spec.model' });
    expect((error as Error).message).toContain(architecture);
  });

  test('a run on the original hh-rlhf jsonl.gz succeeds; five rows are refused and counted', async () => {
    const file = readFileSync(join(shared!, 'data/hh-rlhf/harmless-base.first1500.jsonl.gz'));
    await expect(platform.importDataset('hh-strict', file)).rejects.toMatchObject({ reason: 'INVALID_PAIR' });
    const version = await platform.importDataset('hh', file, ImportPolicy.SKIP);
    const { version: sealed } = await platform.dataset.getDatasetVersion({ name: version });
    expect(sealed!.pairCount).toBe(1495);
    expect(sealed!.report!.refused.map(({ reason, count }) => [reason, count]).sort()).toEqual([
      ['EMPTY_RESPONSE', 4],
      ['PROMPTS_DIFFER', 1],
    ]);
    const spec = specOf('models/stories260K', version, 512, 2);
    spec.training!.truncationMode = TruncationMode.REFUSE;
    const { name } = await platform.createRun('hh', spec);
    const run = await platform.untilEnded(name);
    expect(run.error).toBeUndefined();
    expect(run.state).toBe(RunState.SUCCEEDED);
    expect(run.outputs!.referenceComputedCount).toBeGreaterThan(1000);
  });

  test('texts that llama.cpp reads differently are caveats on the artifact and events of the run', async () => {
    const source = join(shared!, 'cases/rstrip-tokens-caveat');
    const model = join(folder, 'rstrip');
    cpSync(join(source, 'model'), model, { recursive: true });
    copyFileSync(join(shared!, 'cases/stories260K-514rows.safetensors'), join(model, 'model.safetensors'));
    const pairs = await platform.importDataset('rstrip', readFileSync(join(source, 'pairs.jsonl')));
    const spec = specOf('', pairs, 256, 2);
    spec.model!.source = { $case: 'uri', value: `file://${model}` };
    const messages: string[] = [];
    const run = await platform.untilEnded((await platform.createRun('rstrip', spec)).name, ({ payload }) => {
      if (payload?.$case === 'event' && payload.value.type === 'artifact.caveat') messages.push(payload.value.message);
    });
    expect(run.error).toBeUndefined();
    const { name, caveats } = run.outputs!.artifacts[0]!;
    expect(caveats).toEqual([
      expect.stringContaining('keeps the spaces around'),
      expect.stringContaining('the response of a pair'),
    ]);
    expect(messages).toEqual(caveats.map((caveat) => `${name}: ${caveat}.`));
  });
});
