import { copyFile, cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Encoding } from '@pairwise/api';
import { bool, i32Array, text, textArray, u32, type GgufValue } from '@pairwise/gguf';
import { headerOf } from '@pairwise/llamacpp';
import { readBaseModel } from '@pairwise/model';
import type { PreferencePair } from '@pairwise/preference';
import { beforeAll, describe, expect, test } from 'vitest';
import { writeGgufArtifact } from './gguf.ts';
import { enginePolicy } from './policy.ts';
import { editGguf, freshFolder, modelFolder, shared } from './testing.ts';
import { textExpectationOf } from './textExpectation.ts';
import { requireSame, verifyGguf } from './verify.ts';
import { baseWeights } from './weights.ts';

const chats = Encoding.create({ pairCount: 8, conversationCount: 8, chatTemplateDate: '2024-07-26' });
const plain = Encoding.create({ pairCount: 8, chatTemplateDate: '2024-07-26' });
const sequences = [{ prompt: Int32Array.of(318, 419, 285), response: Int32Array.of(441, 416, 411, 328) }];

/** An F16 file of one of the cases, made for what `encoding` holds, and how to verify it. */
async function exported(
  name: string,
  encoding: Encoding,
  { pairs, chatTemplate }: { pairs?: PreferencePair[]; chatTemplate?: string } = {},
) {
  const folder = join(freshFolder(), 'model');
  const source = join(shared!, 'cases', name);
  await cp(join(source, 'model'), folder, { recursive: true });
  await copyFile(join(shared!, 'cases/stories260K-514rows.safetensors'), join(folder, 'model.safetensors'));
  if (chatTemplate !== undefined) await writeFile(join(folder, 'chat_template.jinja'), chatTemplate);
  const base = await modelFolder(folder);
  const baseModel = await readBaseModel(base);
  const rows = (await readFile(join(source, 'pairs.jsonl'), 'utf8')).trimEnd().split('\n').slice(0, 8);
  const own = rows.map((row) => JSON.parse(row) as PreferencePair);
  const expectation = await textExpectationOf(base, encoding, pairs ?? own);
  const weights = baseWeights(baseModel, (...range) => base.read(...range));
  const target = freshFolder();
  const model = { name, config: baseModel.config, weights, ...expectation.serving };
  const { files, caveats } = await writeGgufArtifact(target, model, { baseName: name, type: 'F16' });
  const policyLogps = enginePolicy({ baseModel, folder, adapter: undefined, threads: 1 });
  return {
    path: join(target, files[0]!),
    caveats,
    samples: expectation.samples,
    verify: (path: string) => verifyGguf({ path, type: 'F16', text: expectation, sequences, policyLogps }),
  };
}

describe.skipIf(!shared)('how llama.cpp reads texts (skipped without ../shared)', () => {
  test.each([
    ['bos-in-training-not-in-export', chats],
    ['bos-in-training-not-in-export', plain],
    ['end-of-turn-not-in-gguf', chats],
    ['system-message-required', chats],
  ])('%s: all ids are those of training', async (name, encoding) => {
    const { path, samples, verify } = await exported(name, encoding);
    expect(samples).toHaveLength(4);
    const { verification, caveats } = await verify(path);
    expect(caveats).toEqual([]);
    // Eight kinds of probes at least, besides prompts and responses of eight pairs.
    expect(verification.textCount).toBeGreaterThanOrEqual(encoding === chats ? 24 : 8);
  });

  test('texts that llama.cpp is known to read differently are a caveat', async () => {
    const { path, caveats, verify } = await exported('rstrip-tokens-caveat', chats);
    expect(caveats).toEqual([expect.stringContaining('keeps the spaces around')]);
    expect((await verify(path)).caveats).toEqual([
      expect.stringMatching(
        /^llama\.cpp reads \d+ of \d+ texts with other tokens than in training \(code, .*the prompt of a pair/,
      ),
    ]);
  });

  test('a date in the chat template, a BOS in plain prompts, and pairs of the other kind are caveats', async () => {
    const name = 'bos-in-training-not-in-export';
    const chatTemplate = `{{ strftime_now('%d %B %Y') }}{% for m in messages %}{{ m['content'] + '<|im_end|>' }}{% endfor %}`;
    const dated = await exported(name, chats, { chatTemplate });
    const said = [...dated.caveats, ...(await dated.verify(dated.path)).caveats];
    expect(said).toEqual([expect.stringContaining('2024-07-26')]);
    const mixed = await exported(name, Encoding.create({ ...chats, pairCount: 10 }));
    expect((await mixed.verify(mixed.path)).caveats).toEqual([expect.stringContaining('2 of 10 pairs')]);
    const pairs = [{ prompt: '<s>One day', chosen: ' Tom ran.', rejected: ' Tom sat.' }];
    const doubled = await exported(name, plain, { pairs });
    expect((await doubled.verify(doubled.path)).caveats).toEqual([expect.stringContaining('puts <s> before each')]);
  });
});

describe.skipIf(!shared)('a damaged file is found (skipped without ../shared)', () => {
  let file: Awaited<ReturnType<typeof exported>>;
  let metadata: ReadonlyMap<string, GgufValue>;
  beforeAll(async () => {
    file = await exported('end-of-turn-not-in-gguf', chats);
    ({ metadata } = await headerOf(file.path));
  });

  async function damaged(edit: Parameters<typeof editGguf>[1]) {
    const path = join(freshFolder(), 'damaged.gguf');
    await copyFile(file.path, path);
    await editGguf(path, edit);
    return file.verify(path);
  }

  const swapped = (left: number, right: number) => {
    const tokens = [...(metadata.get('tokenizer.ggml.tokens')!.value as string[])];
    [tokens[left], tokens[right]] = [tokens[right]!, tokens[left]!];
    return textArray(tokens);
  };

  test('an undamaged file is not', async () => {
    expect((await damaged({})).caveats).toEqual([]);
  });

  test('one bit of one weight', async () => {
    const flipped = damaged({
      weights(name, bytes) {
        // The highest bit of the exponent of a half-precision number.
        if (name === 'blk.2.ffn_down.weight') bytes[101]! ^= 0x40;
      },
    });
    await expect(flipped).rejects.toMatchObject({ reason: 'VERIFICATION_FAILED' });
    await expect(flipped).rejects.toThrow('the largest difference per token');
  });

  test.each<[string, () => Record<string, GgufValue>, string]>([
    ['the end of a turn', () => ({ 'tokenizer.ggml.eot_token_id': u32(512) }), 'does not stop at token 513'],
    ['the EOS', () => ({ 'tokenizer.ggml.eos_token_id': u32(1) }), 'tokenizer.ggml.eos_token_id'],
    ['a token of texts that ends a turn', () => ({ 'tokenizer.ggml.eom_token_id': u32(300) }), 'stops at token 300,'],
    ['the chat template', () => ({ 'tokenizer.chat_template': text('{{ messages }}') }), 'tokenizer.chat_template'],
    [
      'the BOS',
      () => ({ 'tokenizer.ggml.add_bos_token': bool(true) }),
      "of the kind 'code', position 0 has token 1 in llama.cpp, but token 512",
    ],
    [
      'the space before texts',
      () => ({ 'tokenizer.ggml.add_space_prefix': bool(false) }),
      "of the kind 'code', position 1 has token",
    ],
    ['two tokens', () => ({ 'tokenizer.ggml.tokens': swapped(300, 301) }), 'tokenizer.ggml.tokens'],
    [
      'the type of a special token',
      () => ({
        'tokenizer.ggml.token_type': i32Array(
          (metadata.get('tokenizer.ggml.token_type')!.value as number[]).with(512, 1),
        ),
      }),
      'position 0 has token',
    ],
  ])('%s', async (_, edit, problem) => {
    const found = damaged({ metadata: edit() });
    await expect(found).rejects.toMatchObject({ reason: 'VERIFICATION_FAILED', metadata: { type: 'F16' } });
    await expect(found).rejects.toThrow(problem);
  });

  test('a missing BOS before plain texts', async () => {
    const { path, verify } = await exported('bos-in-training-not-in-export', plain);
    await editGguf(path, { metadata: { 'tokenizer.ggml.add_bos_token': bool(false) } });
    await expect(verify(path)).rejects.toThrow("of the kind 'code', position 0 has token ");
  });
});

// The first two are the largest differences of SmolLM2-135M, the third is what a GELU of 11 bits may make of them.
test.each([
  ['F16', false, 0.0624, 0.15],
  ['BF16', false, 0.164, 1.2],
  ['F32', true, 0.02, 0.05],
] as const)('a sound %s file, with a GELU: %s, differs by %f', (type, gelu, maxAbsLogpDiff, tolerance) => {
  const differences = { maxAbsLogpDiff, meanAbsLogpDiff: 0.004 };
  expect(requireSame(differences, { type, exact: type, routed: false, gelu })).toBe(tolerance);
  // What it was made from must be closer.
  expect(() => requireSame(differences, { type, exact: 'F32', routed: false })).toThrow('the largest difference');
});

test.each([
  ['F32', false, { maxAbsLogpDiff: 0.003, meanAbsLogpDiff: 0.0001 }, false],
  ['F32', true, { maxAbsLogpDiff: 0.003, meanAbsLogpDiff: 0.0001 }, false],
  ['F16', false, { maxAbsLogpDiff: 0.2, meanAbsLogpDiff: 0.01 }, false],
  ['F16', true, { maxAbsLogpDiff: 0.2, meanAbsLogpDiff: 0.01 }, true],
  ['F16', true, { maxAbsLogpDiff: 0.2, meanAbsLogpDiff: 0.06 }, false],
  ['F16', true, { maxAbsLogpDiff: NaN, meanAbsLogpDiff: NaN }, false],
] as const)('%s with a router: %s, differences %j: accepted %s', (type, routed, differences, accepted) => {
  const check = () => requireSame(differences, { type, exact: type, routed });
  if (accepted) expect(check()).toBe(0.05);
  else expect(check).toThrow(expect.objectContaining({ reason: 'VERIFICATION_FAILED' }) as Error);
});
