import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { headerOf, openJudge } from '@pairwise/llamacpp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { testModel } from '../../libs/llamacpp/testing.ts';
import type { TestModel } from '../../libs/llamacpp/testing.ts';
import { llamaTensors } from '../../libs/gguf/llama.ts';
import { sharedFolder } from '../../tools/goldens/shared.ts';
import { writeAdapterArtifact } from './adapter.ts';
import { writeGgufArtifact } from './gguf.ts';
import type { GgufModel } from './gguf.ts';
import { writeMergedArtifact } from './merged.ts';
import type { VerificationSequence } from './verify.ts';
import { tolerances, verifyGguf } from './verify.ts';
import { mergedWeights, rowChunks } from './weights.ts';
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

/** A small float32 model's weights in memory. */
function inMemory(model: TestModel): ExportWeights {
  const tensors = llamaTensors(model.shape).map(({ source, shape }) => ({ name: source, shape, type: 'F32' as const }));
  const shapes = new Map(tensors.map(({ name, shape }) => [name, shape]));
  return {
    tensors,
    rows(name, first, rows) {
      const width = shapes
        .get(name)!
        .slice(1)
        .reduce((product, dim) => product * dim, 1);
      return Promise.resolve(model.weights(name).slice(first * width, (first + rows) * width));
    },
  };
}

type Safetensors = Map<string, { dtype: string; shape: number[]; bytes: Uint8Array<ArrayBuffer> }>;

async function readSafetensors(path: string): Promise<Safetensors> {
  const file = await readFile(path);
  const start = 8 + Number(file.readBigUInt64LE());
  const header = JSON.parse(file.toString('utf8', 8, start)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  delete header['__metadata__'];
  const entries = Object.entries(header).map(
    ([
      name,
      {
        dtype,
        shape,
        data_offsets: [from, to],
      },
    ]) => {
      const bytes = new Uint8Array(file.subarray(start + from, start + to));
      return [name, { dtype, shape, bytes }] as const;
    },
  );
  return new Map(entries);
}

describe.skipIf(!shared)('exports of stories260K with a trained adapter (skipped without ../shared)', () => {
  const source = join(shared ?? '', 'models/stories260K-eos1');
  let stories: TestModel;
  let base: ExportWeights;
  let adapter: Adapter;
  let model: GgufModel;
  let sequences: VerificationSequence[];
  let policyLogps: number[][];

  beforeAll(async () => {
    stories = await testModel(source);
    base = inMemory(stories);
    const stored = await readSafetensors(join(shared!, 'goldens/adapter_a_final/adapter_model.safetensors'));
    const tensors = [...stored].map(
      ([name, { shape, bytes }]) => [name, { shape, data: new Float32Array(bytes.buffer) }] as const,
    );
    adapter = { scale: 16 / 8, tensors: new Map(tensors) };
    const json = async (name: string) => JSON.parse(await readFile(join(source, name), 'utf8')) as unknown;
    model = {
      name: 'stories',
      shape: stories.shape,
      weights: base,
      tokenizer: { tokenizer: await json('tokenizer.json'), tokenizerConfig: await json('tokenizer_config.json') },
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
    const weights = mergedWeights(base, adapter);
    const name = 'model.layers.3.mlp.down_proj.weight';
    const peft = (factor: string) =>
      adapter.tensors.get(`base_model.model.model.layers.3.mlp.down_proj.lora_${factor}.weight`)!.data;
    const [a, b] = [peft('A'), peft('B')];
    const whole = await weights.rows(name, 0, 64);
    for (const [row, column] of [
      [0, 0],
      [17, 171],
      [63, 5],
    ] as const) {
      let expected = stories.weights(name)[row * 172 + column]!;
      for (let factor = 0; factor < 8; factor++) expected += 2 * b[row * 8 + factor]! * a[factor * 172 + column]!;
      expect(whole[row * 172 + column]).toBe(Math.fround(expected));
    }
    expect(await weights.rows(name, 10, 7)).toEqual(whole.slice(10 * 172, 17 * 172));
    expect(await weights.rows('model.norm.weight', 0, 64)).toEqual(stories.weights('model.norm.weight'));
  });

  test('the merged GGUF differs from the base model', async () => {
    const target = freshFolder();
    const tuned = { ...model, weights: mergedWeights(base, adapter) };
    await writeGgufArtifact(target, tuned, { baseName: 'tuned', type: 'F16' });
    const failing = verifyGguf({
      path: join(target, 'tuned-F16.gguf'),
      type: 'F16',
      sequences,
      policyLogps: () => Promise.resolve(policyLogps),
    });
    await expect(failing).rejects.toMatchObject({ reason: 'VERIFICATION_FAILED', metadata: { type: 'F16' } });
  });

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
    const weights = mergedWeights(base, adapter);
    const files = await writeMergedArtifact(target, { baseFolder: source, weights }, { type: 'BF16' });
    expect(files.sort()).toEqual(
      ['config.json', 'generation_config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json'].sort(),
    );
    const config = JSON.parse(await readFile(join(target, 'config.json'), 'utf8')) as Record<string, unknown>;
    expect(config).toMatchObject({ torch_dtype: 'bfloat16', architectures: ['LlamaForCausalLM'] });
    const written = await readSafetensors(join(target, 'model.safetensors'));
    const original = await readSafetensors(join(source, 'model.safetensors'));
    expect([...written.keys()].sort()).toEqual([...original.keys()].sort());
    for (const [name, { dtype, shape, bytes }] of written) {
      expect(dtype).toBe('BF16');
      expect(shape, name).toEqual(original.get(name)!.shape);
      const exact = await weights.rows(name, 0, shape[0]!);
      const rounded = new Float32Array(Uint32Array.from(new Uint16Array(bytes.buffer), (half) => half << 16).buffer);
      const off = rounded.findIndex((value, index) => Math.abs(value - exact[index]!) > Math.abs(exact[index]!) / 256);
      expect(off, name).toBe(-1);
    }
  });

  test('the adapter folder is as PEFT reads it, its weights bit for bit', async () => {
    const target = freshFolder();
    const golden = join(shared!, 'goldens/adapter_a_final');
    const theirs = JSON.parse(await readFile(join(golden, 'adapter_config.json'), 'utf8')) as Record<string, unknown>;
    const description = {
      baseModel: 'stories260K',
      revision: undefined,
      r: 8,
      alpha: 16,
      targetModules: ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'],
      useRslora: false,
    };
    const files = await writeAdapterArtifact(target, description, adapter.tensors);
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
      tensors: base.tensors,
      rows: async (...range) => (await base.rows(...range)).fill(1e6),
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

describe('reading by rows', () => {
  test('chunks are whole groups and cover a tensor once', async () => {
    const seen: [number, number][] = [];
    const weights: ExportWeights = {
      tensors: [],
      rows(_, first, rows) {
        seen.push([first, rows]);
        return Promise.resolve(new Float32Array(rows));
      },
    };
    for await (const { count: rows } of rowChunks(weights, { name: 'w', shape: [1000, 2 ** 15] }, 20))
      expect(rows % 20).toBe(0);
    expect(seen[0]).toEqual([0, 120]);
    expect(seen.at(-1)).toEqual([960, 40]);
    expect(seen.reduce((sum, [, rows]) => sum + rows, 0)).toBe(1000);
  });

  test('an adapter that does not fit is refused', () => {
    const weights: ExportWeights = {
      tensors: [{ name: 'q.weight', shape: [4, 4], type: 'F32' }],
      rows: () => Promise.resolve(new Float32Array(4)),
    };
    const factors = (a: number[], b?: number[]) => {
      const tensor = (shape: number[]) => ({ shape, data: new Float32Array(shape[0]! * shape[1]!) });
      const tensors = new Map([['base_model.model.q.lora_A.weight', tensor(a)]]);
      if (b) tensors.set('base_model.model.q.lora_B.weight', tensor(b));
      return { scale: 1, tensors };
    };
    expect(() => mergedWeights(weights, factors([2, 5], [4, 2]))).toThrow(
      expect.objectContaining({ reason: 'WRONG_SHAPE' }) as Error,
    );
    expect(() => mergedWeights(weights, factors([2, 4], [4, 3]))).toThrow('do not fit');
    expect(() => mergedWeights(weights, factors([2, 4]))).toThrow(
      expect.objectContaining({ reason: 'MISSING_TENSOR' }) as Error,
    );
  });
});
