import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { headerOf, openJudge } from '@pairwise/llamacpp';
import {
  bfloat16ToFloat32,
  float32ToBfloat16,
  loraLayout,
  loraName,
  readCheckpoint,
  readSafetensors,
} from '@pairwise/model';
import type { Checkpoint, LoraShape, ModelFolder } from '@pairwise/model';
import { adapterParameters, adapterTensors } from '@pairwise/training';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { sharedFolder } from '../../tools/goldens/shared.ts';
import { writeAdapterArtifact } from './adapter.ts';
import { writeGgufArtifact } from './gguf.ts';
import type { GgufModel } from './gguf.ts';
import { writeMergedArtifact } from './merged.ts';
import { enginePolicy } from './policy.ts';
import { readGgufTokenizerFiles } from './tokenizerFiles.ts';
import type { VerificationSequence } from './verify.ts';
import { tolerances, verifyGguf } from './verify.ts';
import { baseWeights, mergedWeights, rowChunks } from './weights.ts';
import type { Adapter, ExportWeights } from './weights.ts';

const shared = sharedFolder();
const folder = mkdtempSync(join(tmpdir(), 'pairwise-export-'));
afterAll(() => rmSync(folder, { recursive: true }));
let count = 0;
function freshFolder(): string {
  const path = join(folder, String(count++));
  mkdirSync(path);
  return path;
}

/** A model folder on this disk. */
async function modelFolder(path: string): Promise<ModelFolder> {
  const names = await readdir(path);
  const files = names.map(async (name) => ({ path: name, sizeBytes: (await stat(join(path, name))).size }));
  return {
    files: await Promise.all(files),
    read: async (name, start, end) => (await readFile(join(path, name))).subarray(start, end),
  };
}

describe.skipIf(!shared)('exports of stories260K with a trained adapter (skipped without ../shared)', () => {
  const source = join(shared ?? '', 'models/stories260K-eos1');
  let base: ModelFolder;
  let checkpoint: Checkpoint;
  let weights: ExportWeights;
  let adapter: Adapter;
  let model: GgufModel;
  let sequences: VerificationSequence[];
  let policyLogps: number[][];

  beforeAll(async () => {
    base = await modelFolder(source);
    checkpoint = await readCheckpoint(base);
    weights = baseWeights(checkpoint, (...range) => base.read(...range));
    const file = await readFile(join(shared!, 'goldens/adapter_a_final/adapter_model.safetensors'));
    const lora: LoraShape = {
      r: 8,
      alpha: 16,
      targetModules: ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'],
      useRslora: false,
    };
    const parameters = adapterParameters(loraLayout(checkpoint.config, lora), readSafetensors(file));
    adapter = { lora, parameters };
    model = {
      name: 'stories',
      config: checkpoint.config,
      weights,
      tokenizer: await readGgufTokenizerFiles(base),
      renderChat: undefined,
      stops: ['<s>'],
    };
    interface Pair {
      prompt_ids: number[];
      rejected_ids: number[];
      ref_rejected_token_logps: number[];
    }
    const goldens = JSON.parse(await readFile(join(shared!, 'goldens/ids_first64.json'), 'utf8')) as { pairs: Pair[] };
    const pairs = goldens.pairs.slice(0, 16);
    sequences = pairs.map(({ prompt_ids, rejected_ids }) => ({
      prompt: Int32Array.from(prompt_ids),
      response: Int32Array.from(rejected_ids),
    }));
    policyLogps = pairs.map((pair) => pair.ref_rejected_token_logps);
  });

  test.each(['F32', 'F16', 'BF16', 'Q8_0', 'Q4_K_M'] as const)('GGUF as %s reproduces the model', async (type) => {
    const target = freshFolder();
    const { files, caveats, quantization } = await writeGgufArtifact(target, model, { baseName: 'stories', type });
    expect(files).toEqual([`stories-${type}.gguf`, 'Modelfile']);
    expect((await readdir(target)).sort()).toEqual([...files].sort());
    expect(caveats).toEqual([]);
    expect(quantization?.fallbacks.length).toBe({ Q8_0: 5, Q4_K_M: 36 }[type as string]);
    expect(await readFile(join(target, 'Modelfile'), 'utf8')).toBe(
      `FROM ./stories-${type}.gguf\nTEMPLATE "{{ .Prompt }}"\nPARAMETER stop "<s>"\n`,
    );
    const verification = await verifyGguf({
      path: join(target, `stories-${type}.gguf`),
      type,
      sequences,
      policyLogps: () => Promise.resolve(policyLogps),
    });
    expect(verification).toMatchObject({ sequences: 16, tolerance: tolerances[type] });
    expect(verification.tokens).toBe(policyLogps.flat().length);
    if (type === 'F16') expect(verification.maxAbsLogpDiff).toBeLessThan(0.02);
  });

  test('a merged adapter is W + scale B A, the same however it is cut into rows', async () => {
    const merged = mergedWeights(weights, checkpoint.config, adapter);
    const name = 'model.layers.3.mlp.down_proj.weight';
    const original = await weights.rows(name, 0, 64);
    const tensors = adapterTensors(loraLayout(checkpoint.config, adapter.lora), adapter.parameters);
    const peft = (factor: 'A' | 'B') =>
      tensors.find((tensor) => tensor.name === loraName(3, 'down_proj', factor))!.data as Float32Array;
    const [a, b] = [peft('A'), peft('B')];
    const whole = await merged.rows(name, 0, 64);
    for (const [row, column] of [
      [0, 0],
      [17, 171],
      [63, 5],
    ] as const) {
      let sum = original[row * 172 + column]!;
      for (let factor = 0; factor < 8; factor++) sum += 2 * b[row * 8 + factor]! * a[factor * 172 + column]!;
      expect(whole[row * 172 + column]).toBe(Math.fround(sum));
    }
    expect(await merged.rows(name, 10, 7)).toEqual(whole.slice(10 * 172, 17 * 172));
    expect(await merged.rows('model.norm.weight', 0, 64)).toEqual(await weights.rows('model.norm.weight', 0, 64));
  });

  test.each(['F32', 'F16', 'Q8_0'] as const)(
    'a tuned model as %s reproduces the policy of our own engine',
    async (type) => {
      const target = freshFolder();
      const tuned = { ...model, weights: mergedWeights(weights, checkpoint.config, adapter) };
      const { files } = await writeGgufArtifact(target, tuned, { baseName: 'tuned', type });
      const verify = (trained: Adapter | undefined) =>
        verifyGguf({
          path: join(target, files[0]!),
          type,
          sequences,
          policyLogps: enginePolicy({ checkpoint, folder: source, adapter: trained, threads: 1 }),
        });
      const verification = await verify(adapter);
      expect(verification.maxAbsLogpDiff).toBeLessThan({ F32: 1e-4, F16: 0.02, Q8_0: 1 }[type]);
      // The base model's policy is another one.
      await expect(verify(undefined)).rejects.toMatchObject({ reason: 'VERIFICATION_FAILED', metadata: { type } });
    },
  );

  test('logps that are missing or no numbers fail the verification', async () => {
    const target = freshFolder();
    await writeGgufArtifact(target, model, { baseName: 'x', type: 'F32' });
    const verify = (logps: number[][]) =>
      verifyGguf({
        path: join(target, 'x-F32.gguf'),
        type: 'F32',
        sequences,
        policyLogps: () => Promise.resolve(logps),
      });
    await expect(verify(policyLogps.slice(1))).rejects.toMatchObject({ reason: 'VERIFICATION_FAILED' });
    await expect(verify(policyLogps.map((logps) => logps.map(() => NaN)))).rejects.toThrow('NaN');
    await expect(
      verifyGguf({
        path: join(target, 'x-F32.gguf'),
        type: 'F32',
        sequences: [],
        policyLogps: () => Promise.resolve([]),
      }),
    ).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
  });

  test('the merged folder holds every tensor in the asked dtype, and what belongs to it', async () => {
    const target = freshFolder();
    const merged = mergedWeights(weights, checkpoint.config, adapter);
    const { config } = checkpoint;
    const files = await writeMergedArtifact(target, { base, config, weights: merged }, { type: 'BF16' });
    expect((await readdir(target)).sort()).toEqual(files.toSorted());
    expect(files.toSorted()).toEqual(base.files.map(({ path }) => path).toSorted());
    expect(JSON.parse(await readFile(join(target, 'config.json'), 'utf8'))).toEqual({
      ...(JSON.parse(await readFile(join(source, 'config.json'), 'utf8')) as object),
      torch_dtype: 'bfloat16',
    });
    const written = await modelFolder(target);
    const reread = await readCheckpoint(written);
    for (const [name, { dtype, shape }] of reread.weights) {
      expect(dtype).toBe('BF16');
      const exact = await merged.rows(name, 0, shape[0]!);
      const stored = await baseWeights(reread, (...range) => written.read(...range)).rows(name, 0, shape[0]!);
      expect(stored, name).toEqual(bfloat16ToFloat32(float32ToBfloat16(exact)));
    }
  });

  test('a merged folder without an adapter and in the base model’s dtype is the base model', async () => {
    const target = freshFolder();
    await writeMergedArtifact(target, { base, config: checkpoint.config, weights }, { type: undefined });
    const [written, original] = [
      readSafetensors(await readFile(join(target, 'model.safetensors'))),
      readSafetensors(await readFile(join(source, 'model.safetensors'))),
    ];
    expect(new Map([...written].sort())).toEqual(new Map([...original].sort()));
    expect(await readFile(join(target, 'config.json'), 'utf8')).toBe(
      await readFile(join(source, 'config.json'), 'utf8'),
    );
  });

  test('the adapter folder is as PEFT reads it, its weights bit for bit', async () => {
    const target = freshFolder();
    const golden = join(shared!, 'goldens/adapter_a_final');
    const theirs = JSON.parse(await readFile(join(golden, 'adapter_config.json'), 'utf8')) as Record<string, unknown>;
    const files = await writeAdapterArtifact(target, {
      config: checkpoint.config,
      adapter,
      base: { name: 'stories260K', revision: undefined },
    });
    expect(files).toEqual(['adapter_config.json', 'adapter_model.safetensors']);
    const ours = JSON.parse(await readFile(join(target, 'adapter_config.json'), 'utf8')) as Record<string, unknown>;
    for (const [key, value] of Object.entries(ours)) expect(value, key).toEqual(theirs[key]);
    const [written, original] = [await readFile(join(target, files[1]!)), await readFile(join(golden, files[1]!))];
    expect(written.equals(original)).toBe(true);
  });

  test('a cancelled export leaves nothing behind', async () => {
    const target = freshFolder();
    const options = { baseName: 'x', type: 'Q8_0' as const, signal: AbortSignal.abort() };
    await expect(writeGgufArtifact(target, model, options)).rejects.toMatchObject({ reason: 'CANCELLED' });
    expect(await readdir(target)).toEqual([]);
  });

  test('weights that F16 cannot hold are refused', async () => {
    const target = freshFolder();
    const big: ExportWeights = {
      storedType: () => 'F32',
      rows: async (...range) => (await weights.rows(...range)).fill(1e6),
    };
    const options = { baseName: 'x', type: 'F16' as const };
    await expect(writeGgufArtifact(target, { ...model, weights: big }, options)).rejects.toMatchObject({
      reason: 'NON_FINITE',
      message: expect.stringContaining('BF16') as string,
    });
    expect(await readdir(target)).toEqual([]);
  });

  test('a chat template goes into the file and, as a Go template, into the Modelfile', async () => {
    const target = freshFolder();
    const chat: GgufModel = {
      ...model,
      tokenizer: { ...model.tokenizer, chatTemplate: '{{ messages }}' },
      renderChat: (messages, { addGenerationPrompt }) =>
        messages.map(({ role, content }) => `[${role}] ${content}\n`).join('') +
        (addGenerationPrompt ? '[assistant] ' : ''),
      stops: ['[user]', '</s>'],
    };
    await writeGgufArtifact(target, chat, { baseName: 'chat', type: 'F16' });
    const { metadata } = await headerOf(join(target, 'chat-F16.gguf'));
    expect(metadata.get('tokenizer.chat_template')?.value).toBe('{{ messages }}');
    // The template writes no <s>, so neither may llama.cpp.
    expect(metadata.get('tokenizer.ggml.add_bos_token')?.value).toBe(false);
    const modelfile = await readFile(join(target, 'Modelfile'), 'utf8');
    expect(modelfile).toContain('{{ if eq .Role "system" }}[system] {{ .Content }}\n');
    expect(modelfile.match(/^PARAMETER stop .*$/gm)).toEqual(['PARAMETER stop "[user]"', 'PARAMETER stop "</s>"']);
    const judge = await openJudge(join(target, 'chat-F16.gguf'));
    expect([...(await judge.tokenize('a', { addSpecial: true, parseSpecial: true }))][0]).not.toBe(1);
    await judge.close();
  });

  test('a file is written once it is whole: its size is what was announced', async () => {
    const target = freshFolder();
    await writeGgufArtifact(target, model, { baseName: 'x', type: 'F32' });
    const header = await headerOf(join(target, 'x-F32.gguf'));
    const last = header.tensors.at(-1)!;
    expect(BigInt((await stat(join(target, 'x-F32.gguf'))).size)).toBe(last.offset + last.sizeBytes);
  });
});

describe.skipIf(!shared)('every architecture that Pairwise trains (skipped without ../shared)', () => {
  test.each([
    ['llama3', 'F16'],
    ['llama3-tied-bf16', 'BF16'],
    ['llama3-tied-bf16', 'Q8_0'],
    ['mistral', 'F32'],
  ] as const)('%s as %s', async (name, type) => {
    const source = join(shared!, 'archs', name);
    const base = await modelFolder(source);
    const checkpoint = await readCheckpoint(base);
    const model: GgufModel = {
      name,
      config: checkpoint.config,
      weights: baseWeights(checkpoint, (...range) => base.read(...range)),
      tokenizer: await readGgufTokenizerFiles(base),
      renderChat: undefined,
      stops: [],
    };
    const target = freshFolder();
    const { files } = await writeGgufArtifact(target, model, { baseName: name, type });
    const golden = JSON.parse(await readFile(join(source, 'golden_logps.json'), 'utf8')) as {
      token_ids: number[][];
      token_logps: number[][];
    };
    const verification = await verifyGguf({
      path: join(target, files[0]!),
      type,
      sequences: golden.token_ids.map(([first, ...rest]) => ({
        prompt: Int32Array.of(first!),
        response: Int32Array.from(rest),
      })),
      policyLogps: () => Promise.resolve(golden.token_logps),
    });
    expect(verification.maxAbsLogpDiff).toBeLessThan({ F32: 1e-4, F16: 0.02, BF16: 0.05, Q8_0: 0.2 }[type]);
  });
});

describe('reading by rows', () => {
  test('chunks are whole groups and cover a tensor once', async () => {
    const seen: [number, number][] = [];
    const rows: ExportWeights['rows'] = (_, first, count) => {
      seen.push([first, count]);
      return Promise.resolve(new Float32Array(count));
    };
    for await (const chunk of rowChunks({ rows }, { name: 'w', shape: [1000, 2 ** 15] }, 20)) {
      expect(chunk.count % 20).toBe(0);
    }
    expect(seen[0]).toEqual([0, 120]);
    expect(seen.at(-1)).toEqual([960, 40]);
    expect(seen.reduce((sum, [, rows]) => sum + rows, 0)).toBe(1000);
  });
});
