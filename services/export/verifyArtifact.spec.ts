import { copyFile, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Export, ExportState, StartExportRequest, type Artifact, type ExportTarget } from '@pairwise/api';
import type { Attempt } from '@pairwise/durable';
import { digestOfFiles, parseDigest } from '@pairwise/fingerprint';
import { errorOf } from '@pairwise/rpc';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runExport } from './run.ts';
import {
  addStories,
  addTrained,
  archAdapter,
  editGguf,
  encodedPair,
  freshFolder,
  shared,
  startTestExportService,
  testProject,
  type TestExportService,
} from './testing.ts';

type Source = StartExportRequest['source'];

describe.skipIf(!shared)('an export of a trained adapter (skipped without ../shared)', () => {
  let service: TestExportService;
  let trained: Awaited<ReturnType<typeof addStories>>;
  beforeAll(async () => {
    service = await startTestExportService();
    trained = await addStories(service);
  });
  afterAll(() => service.stop());

  /** Exports one target. `damage` changes the artifact between making and verifying it. */
  async function exported(
    id: string,
    format: NonNullable<ExportTarget['format']>,
    {
      damage,
      source = trained.source,
      encoding = trained.encoding,
    }: { damage?: (artifact: Artifact) => Promise<void>; source?: Source; encoding?: string } = {},
  ): Promise<Export> {
    const { exports } = service.deps;
    const name = `${testProject}/exports/${id}`;
    const targets = [{ name: 'only', format }];
    await exports.ensure(
      Export.create({ name, state: ExportState.QUEUED, targetCount: 1 }),
      StartExportRequest.create({ ...trained, source, encoding, exportId: id, baseName: 'x', targets }),
    );
    const attempt: Attempt = {
      id,
      activity: async (activity, work) => {
        if (activity === 'made') await damage?.((await exports.get(name)).export.artifacts[0]!);
        return work(new AbortController().signal);
      },
      fence: () => Promise.resolve(),
    };
    await runExport(service.deps, name, attempt);
    return (await exports.get(name)).export;
  }

  /** Changes the bytes of one tensor of an artifact's file. */
  async function damageTensor(artifact: Artifact, suffix: string, tensor: string, change: (bytes: Buffer) => void) {
    const { blobs, exports } = service.deps;
    const file = artifact.files.find(({ path }) => path.endsWith(suffix))!;
    const path = join(freshFolder(), 'damaged.gguf');
    await using stored = await blobs.local(parseDigest(file.digest));
    await copyFile(stored.path, path);
    await editGguf(path, { weights: (name, bytes) => name === tensor && change(bytes) });
    const { digest } = await blobs.put(await readFile(path));
    const files = artifact.files.map((each) => (each === file ? { ...each, digest } : each));
    const [name = ''] = artifact.name.split('/artifacts/');
    await exports.putArtifact(name, { ...artifact, files }, () => Promise.resolve());
  }

  test('an adapter as GGUF is verified over the base model', async () => {
    const { state, error, artifacts } = await exported('adapter', { $case: 'ggufAdapter', value: {} });
    expect(error).toBeUndefined();
    expect(state).toBe(ExportState.SUCCEEDED);
    expect(artifacts[0]!.files.map(({ path }) => path)).toEqual(['x-adapter.gguf', 'README.md']);
    const { verification } = artifacts[0]!;
    expect(verification).toMatchObject({ sequenceCount: 16, tolerance: 0.002 });
    expect(verification!.maxAbsLogpDiff).toBeLessThan(1e-4);
  });

  test.each(['gguf', 'ggufAdapter'])('a 16-bit %s is verified before and after rounding', async (format) => {
    const { error, artifacts } = await exported(
      `rounded-${format}`,
      format === 'gguf'
        ? { $case: format, value: { type: 'F16' } }
        : { $case: 'ggufAdapter', value: { baseType: 'F16' } },
    );
    expect(error).toBeUndefined();
    expect(artifacts[0]!.verification).toMatchObject({ sequenceCount: 16, tolerance: 0.15 });
  });

  test('an adapter with a file of the base model is verified over that file', async () => {
    const { error, artifacts } = await exported('with-base', { $case: 'ggufAdapter', value: { baseType: 'Q8_0' } });
    expect(error).toBeUndefined();
    const [{ type, files, digest, verification, samples }] = artifacts as [Artifact];
    expect(type).toBe('Q8_0');
    expect(files.map(({ path }) => path)).toEqual(['x-adapter.gguf', 'x-base-Q8_0.gguf', 'Modelfile', 'README.md']);
    const modelfile = Buffer.from(await service.deps.blobs.get(parseDigest(files[2]!.digest))).toString();
    expect(modelfile.split('\n').slice(0, 2)).toEqual(['FROM ./x-base-Q8_0.gguf', 'ADAPTER ./x-adapter.gguf']);
    expect(digest).toBe(digestOfFiles(files));
    const card = Buffer.from(await service.deps.blobs.get(parseDigest(files[3]!.digest))).toString();
    const nats = Number(verification!.quantizationCost!.policy!.klDivergence.toPrecision(3));
    expect(card).toContain(`KL divergence from the file before quantising: ${nats} nats per token; at most `);
    const { policy, base, margin } = verification!.quantizationCost!;
    expect(policy!.margin).toBeCloseTo(margin!, 0);
    expect(base!.margin).toBeCloseTo(0, 0);
    expect(policy!.klDivergence).toBeLessThan(0.01);
    expect(samples).toHaveLength(4);
    for (const { base: before, tuned } of samples) expect(tuned).not.toBe(before);
  });

  test('the base model and the artifact answer the same prompts, however they are stored', async () => {
    const samplesOf = async (...args: Parameters<typeof exported>) => {
      const { error, artifacts } = await exported(...args);
      expect(error).toBeUndefined();
      return artifacts[0]!.samples;
    };
    const samples = await samplesOf('whole', { $case: 'gguf', value: { type: 'F32' } });
    expect(samples).toHaveLength(4);
    for (const { base, tuned } of samples) {
      expect(base).toMatch(/[a-z]{3}/);
      expect(tuned).not.toBe(base);
    }
    expect(await samplesOf('adapter-alone', { $case: 'ggufAdapter', value: {} })).toEqual(samples);
    const source: Source = { $case: 'model', value: `${testProject}/models/stories` };
    const untrained = await samplesOf('untrained', { $case: 'gguf', value: { type: 'F32' } }, { source });
    expect(untrained).toEqual(samples.map(({ prompt, base }) => ({ prompt, base: undefined, tuned: base })));
  });

  test('one wrong value in an adapter fails the export', async () => {
    const { state, error } = await exported(
      'damaged',
      { $case: 'ggufAdapter', value: {} },
      {
        damage: (artifact) =>
          damageTensor(artifact, '-adapter.gguf', 'blk.3.ffn_up.weight.lora_b', (bytes) => bytes.writeFloatLE(1, 400)),
      },
    );
    expect(state).toBe(ExportState.FAILED);
    expect(errorOf(error).reason).toBe('VERIFICATION_FAILED');
  });

  test.each([
    ['some', 4, 8, /^the verification left out 2 pairs of more than 16 tokens, because/],
    ['all', 0, 4, /^all pairs have more than 16 tokens; only their first 16 tokens were compared, because/],
  ])('a sliding window that llama.cpp does not have, and %s pairs are longer', async (id, short, count, caveat) => {
    const { folder, adapter, sequences } = await archAdapter('mistral-swa16');
    const pairs = sequences.slice(0, short + 2).map(({ prompt, response }, n) => {
      if (n < 2) return encodedPair(prompt, response, response.subarray(1));
      return encodedPair(prompt.subarray(0, 8), response.subarray(0, 8), response.subarray(8, 12));
    });
    const windowed = await addTrained(service, `windowed-${id}`, { folder, adapter, pairs });
    const { error, artifacts } = await exported(id, { $case: 'gguf', value: { type: 'F32' } }, windowed);
    expect(error).toBeUndefined();
    const { verification, caveats } = artifacts[0]!;
    expect(verification).toMatchObject({ sequenceCount: count });
    expect(verification!.maxAbsLogpDiff).toBeLessThan(1e-4);
    expect(caveats).toContainEqual(expect.stringMatching(caveat));
  });
});
