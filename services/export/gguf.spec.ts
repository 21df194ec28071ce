import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Encoding } from '@pairwise/api';
import {
  ggufContextLength,
  chatFormatOf,
  fileTypes,
  isQuantized,
  tensorTypes,
  type GgufType,
  type RenderChat,
} from '@pairwise/gguf';
import { headerOf, openJudge } from '@pairwise/llamacpp';
import { readBaseModel } from '@pairwise/model';
import { beforeAll, describe, expect, test } from 'vitest';
import { writeGgufArtifact } from './gguf.ts';
import type { GgufModel } from './gguf.ts';
import { enginePolicy } from './policy.ts';
import { freshFolder, modelFolder, openStories, shared } from './testing.ts';
import type { Stories } from './testing.ts';
import { servingOf } from './serving.ts';
import { textExpectationOf } from './textExpectation.ts';
import type { VerificationSequence } from './verify.ts';
import { verifyGguf } from './verify.ts';
import type { TextExpectation } from './verifyText.ts';
import { baseWeights, mergedWeights } from './weights.ts';
import type { Adapter, ExportWeights } from './weights.ts';

/** What is trained is plain texts. */
const encoding = Encoding.create({ pairCount: 1, chatTemplateDate: '2024-07-26' });

describe.skipIf(!shared)('GGUF files of stories260K with a trained adapter (skipped without ../shared)', () => {
  let stories: Stories;
  let model: GgufModel;
  let sequences: VerificationSequence[];
  let policyLogps: number[][];
  let text: TextExpectation;

  beforeAll(async () => {
    stories = await openStories();
    model = {
      name: 'stories',
      config: stories.baseModel.config,
      weights: stories.weights,
      ...(await servingOf(stories.base, undefined)),
    };
    text = await textExpectationOf(stories.base, encoding, []);
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

  test.each(Object.keys(fileTypes) as GgufType[])('GGUF as %s reproduces the model', async (type) => {
    const target = freshFolder();
    const { files, caveats, quantization } = await writeGgufArtifact(target, model, { baseName: 'stories', type });
    expect(files).toEqual([`stories-${type}.gguf`, 'Modelfile']);
    expect((await readdir(target)).sort()).toEqual([...files].sort());
    const expected = isQuantized(type) ? [expect.stringMatching(/^\d+ matrices have rows that are not/)] : [];
    expect(caveats).toEqual(expected);
    if (type === 'Q8_0')
      expect(caveats[0]).toBe(
        '5 matrices have rows that are not a multiple of 32 weights, as Q8_0 needs: llama.cpp stores them as F16',
      );
    // Its rows have 64 and 172 weights: 32 divides only the first, 256 divides neither.
    const { blockWeights } = tensorTypes[fileTypes[type].matrices];
    expect(quantization?.fallbacks.length).toBe(isQuantized(type) ? (blockWeights === 32 ? 5 : 36) : undefined);
    expect(await readFile(join(target, 'Modelfile'), 'utf8')).toBe(
      `FROM ./stories-${type}.gguf\nTEMPLATE "{{ .Prompt }}"\nPARAMETER stop "<s>"\n`,
    );
    const { verification } = await verifyGguf({
      path: join(target, `stories-${type}.gguf`),
      type,
      text,
      sequences,
      policyLogps: () => Promise.resolve(policyLogps),
    });
    expect(verification.sequenceCount).toBe(16);
    expect(verification.tokenCount).toBe(policyLogps.flat().length);
    if (type === 'F16') expect(verification.maxAbsLogpDiff).toBeLessThan(0.02);
    const worst = ['Q8_0', 'Q6_K'].includes(type) ? 0.03 : 0.3;
    if (isQuantized(type)) expect(verification.meanAbsLogpDiff).toBeLessThan(worst);
  });

  test.each(['F32', 'F16'] as const)('a tuned model as %s reproduces the policy of our own engine', async (type) => {
    const { source, baseModel, weights, adapter } = stories;
    const target = freshFolder();
    const tuned = { ...model, weights: mergedWeights(weights, baseModel.config, adapter) };
    const { files } = await writeGgufArtifact(target, tuned, { baseName: 'tuned', type });
    const verify = (trained: Adapter | undefined) =>
      verifyGguf({
        path: join(target, files[0]!),
        type,
        text,
        sequences,
        policyLogps: enginePolicy({ baseModel, folder: source, adapter: trained, threads: 1 }),
      });
    const { verification } = await verify(adapter);
    expect(verification.maxAbsLogpDiff).toBeLessThan({ F32: 1e-4, F16: 0.02 }[type]);
    // The base model is a different policy.
    await expect(verify(undefined)).rejects.toMatchObject({ reason: 'VERIFICATION_FAILED', metadata: { type } });
  });

  test('missing logps and NaN fail the verification', async () => {
    const target = freshFolder();
    await writeGgufArtifact(target, model, { baseName: 'x', type: 'F32' });
    const verify = (logps: number[][]) =>
      verifyGguf({
        path: join(target, 'x-F32.gguf'),
        type: 'F32',
        text,
        sequences,
        policyLogps: () => Promise.resolve(logps),
      });
    await expect(verify(policyLogps.slice(1))).rejects.toMatchObject({ reason: 'VERIFICATION_FAILED' });
    await expect(verify(policyLogps.map((logps) => logps.map(() => NaN)))).rejects.toThrow('NaN');
    await expect(
      verifyGguf({
        path: join(target, 'x-F32.gguf'),
        type: 'F32',
        text,
        sequences: [],
        policyLogps: () => Promise.resolve([]),
      }),
    ).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
  });

  test('a cancelled export leaves no files behind', async () => {
    const target = freshFolder();
    const options = { baseName: 'x', type: 'Q8_0' as const, signal: AbortSignal.abort() };
    await expect(writeGgufArtifact(target, model, options)).rejects.toMatchObject({ reason: 'CANCELLED' });
    expect(await readdir(target)).toEqual([]);
  });

  test('weights that F16 cannot represent are rejected', async () => {
    const target = freshFolder();
    const big: ExportWeights = {
      storedType: () => 'F32',
      rows: async (...range) => (await stories.weights.rows(...range)).fill(1e6),
    };
    const options = { baseName: 'x', type: 'F16' as const };
    await expect(writeGgufArtifact(target, { ...model, weights: big }, options)).rejects.toMatchObject({
      reason: 'NON_FINITE',
      message: expect.stringContaining('BF16') as string,
    });
    expect(await readdir(target)).toEqual([]);
  });

  test('a chat template is written to the GGUF file and, as a Go template, to the Modelfile', async () => {
    const target = freshFolder();
    const render: RenderChat = (messages, { addGenerationPrompt }) =>
      messages.map(({ role, content }) => `[${role}] ${content}\n`).join('') +
      (addGenerationPrompt ? '[assistant] ' : '');
    const chat: GgufModel = {
      ...model,
      tokenizer: {
        ...model.tokenizer,
        chatTemplate: '{{ messages }}',
        special: { ...model.tokenizer.special, addsBos: false },
      },
      chat: chatFormatOf(render),
      stops: ['[user]', '</s>'],
    };
    await writeGgufArtifact(target, chat, { baseName: 'chat', type: 'F16' });
    const { metadata } = await headerOf(join(target, 'chat-F16.gguf'));
    expect(metadata.get('tokenizer.chat_template')?.value).toBe('{{ messages }}');
    expect(metadata.get('tokenizer.ggml.add_bos_token')?.value).toBe(false);
    const modelfile = await readFile(join(target, 'Modelfile'), 'utf8');
    expect(modelfile).toContain('{{ if eq .Role "system" }}[system] {{ .Content }}\n');
    expect(modelfile.match(/^PARAMETER stop .*$/gm)).toEqual(['PARAMETER stop "[user]"', 'PARAMETER stop "</s>"']);
    const judge = await openJudge(join(target, 'chat-F16.gguf'));
    expect([...(await judge.tokenize('a', { addSpecial: true, parseSpecial: true }))][0]).not.toBe(1);
    await judge.close();
  });

  test('the size of a file matches its header', async () => {
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
    ['mistral-swa16', 'F32'],
    ['qwen2-sharded', 'F32'],
    ['qwen2-yarn', 'F32'],
    ['qwen3', 'F32'],
    ['gemma2', 'F32'],
    ['gemma3-text', 'F32'],
    ['phi3', 'F32'],
    ['smollm3', 'F32'],
    ['olmo2', 'F32'],
    ['granite', 'F32'],
    ['qwen3-moe', 'F32'],
    ['qwen3-moe', 'F16'],
  ] as const)('%s as %s', async (name, type) => {
    const source = join(shared!, 'archs', name);
    const base = await modelFolder(source);
    const baseModel = await readBaseModel(base);
    const model: GgufModel = {
      name,
      config: baseModel.config,
      weights: baseWeights(baseModel, (...range) => base.read(...range)),
      ...(await servingOf(base, undefined)),
    };
    const target = freshFolder();
    const { files, caveats } = await writeGgufArtifact(target, model, { baseName: name, type });
    const length = ggufContextLength(model.config);
    const golden = JSON.parse(await readFile(join(source, 'golden_logps.json'), 'utf8')) as {
      token_ids: number[][];
      token_logps: number[][];
    };
    const { verification } = await verifyGguf({
      path: join(target, files[0]!),
      type,
      text: await textExpectationOf(base, encoding, []),
      sequences: golden.token_ids.map(([first, ...rest]) => ({
        prompt: Int32Array.of(first!),
        response: Int32Array.from(rest.slice(0, length - 1)),
      })),
      policyLogps: () => Promise.resolve(golden.token_logps.map((logps) => logps.slice(0, length - 1))),
    });
    // llama.cpp looks up the GELU of Gemma in a table of 11 bits.
    const tolerances = { F32: name.includes('gemma') ? 1e-3 : 1e-4, F16: 0.02, BF16: 0.05, Q8_0: 0.2 };
    expect(verification.maxAbsLogpDiff).toBeLessThan(tolerances[type]);
    expect(caveats.some((caveat) => caveat.includes('sliding window'))).toBe(name === 'mistral-swa16');
  });
});
