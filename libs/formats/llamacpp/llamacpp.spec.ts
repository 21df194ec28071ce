import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { copyFile, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileTypes, i32Array, text, textArray, u32 } from '@pairwise/gguf';
import type { GgufValue, QuantizedType } from '@pairwise/gguf';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { sharedFolder } from '@pairwise/testing';
import { headerOf, openJudge, quantizeGguf } from './index.ts';
import type { Judge } from './index.ts';
import { paddedModel, randomModel, testModel, writeTestGguf } from './testing.ts';

const shared = sharedFolder();
const folder = mkdtempSync(join(tmpdir(), 'pairwise-llamacpp-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** A sequence with the log probabilities that PyTorch computes for its tokens, beginning with token `from`. */
interface Golden {
  ids: Int32Array;
  from: number;
  logps: number[];
}

function storiesGoldens(): Golden[] {
  interface Pair {
    prompt_ids: number[];
    chosen_ids: number[];
    ref_chosen_token_logps: number[];
  }
  const file = readFileSync(join(shared!, 'goldens/ids_first64.json'), 'utf8');
  return (JSON.parse(file) as { pairs: Pair[] }).pairs.map((pair) => ({
    ids: Int32Array.from([...pair.prompt_ids, ...pair.chosen_ids]),
    from: pair.prompt_ids.length - 1,
    logps: pair.ref_chosen_token_logps,
  }));
}

function archGoldens(name: string): Golden[] {
  const file = readFileSync(join(shared!, 'archs', name, 'golden_logps.json'), 'utf8');
  const { token_ids, token_logps } = JSON.parse(file) as { token_ids: number[][]; token_logps: number[][] };
  return token_ids.map((ids, index) => ({ ids: Int32Array.from(ids), from: 0, logps: token_logps[index]! }));
}

async function differences(path: string, goldens: readonly Golden[]): Promise<number[]> {
  const judge = await openJudge(path);
  try {
    const logps = await judge.tokenLogps(goldens.map(({ ids }) => ids));
    return goldens.flatMap((golden, index) =>
      golden.logps.map((expected, token) => Math.abs(logps[index]![golden.from + token]! - expected)),
    );
  } finally {
    await judge.close();
  }
}

/** Folders of ../shared/archs besides llama3: one for each architecture and variant. */
const architectures = [
  'llama3-tied-bf16',
  'mistral',
  'qwen2-yarn',
  'qwen3',
  'gemma2',
  'gemma3-text',
  'phi3',
  'smollm3',
  'olmo2',
  'granite',
  'qwen3-moe',
];

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

describe.skipIf(!shared)('logps of real files equal the golden ones (skipped without ../shared)', () => {
  // The largest difference at a token, in nats. With F16 and BF16, llama.cpp also rounds the activations, to 11 and 8 bits;
  // the GELU of Gemma it always looks up in a table of 11 bits.
  const tolerances = { F32: 1e-4, F16: 0.02, BF16: 0.2, GELU: 1e-3 } as const;
  const cases = [
    ...(['F32', 'F16', 'BF16'] as const).flatMap((type) => [
      { type, source: 'models/stories260K-eos1' },
      { type, source: 'archs/llama3' },
    ]),
    ...architectures.map((name) => ({ type: 'F32' as const, source: `archs/${name}` })),
  ];
  test.each(cases)('$source as $type', async ({ type, source }) => {
    const path = join(folder, 'golden.gguf');
    await writeTestGguf(await testModel(join(shared!, source)), path, type);
    const goldens = source.startsWith('models') ? storiesGoldens() : archGoldens(source.slice('archs/'.length));
    const found = await differences(path, goldens);
    expect(found.length).toBeGreaterThan(100);
    expect(Math.max(...found)).toBeLessThan(tolerances[source.includes('gemma') ? 'GELU' : type]);
  });

  test('stories260K as Q8_0, with rows that do not fit its blocks stored as F16', async () => {
    const [input, output] = [join(folder, 'stories.gguf'), join(folder, 'stories-q8.gguf')];
    await writeTestGguf(await testModel(join(shared!, 'models/stories260K-eos1')), input, 'F32');
    const { tensorTypes, fallbacks } = await quantizeGguf({ input, output, type: 'Q8_0' });
    expect(fallbacks.map(({ name }) => name)).toEqual([0, 1, 2, 3, 4].map((layer) => `blk.${layer}.ffn_down.weight`));
    expect(fallbacks.every(({ rowWeights, type }) => rowWeights === 172 && type === 'F16')).toBe(true);
    expect(tensorTypes).toEqual({ F32: 11, Q8_0: 31, F16: 5 });
    const found = await differences(output, storiesGoldens());
    expect(mean(found)).toBeLessThan(0.05);
    expect(mean(found)).toBeGreaterThan(0);
  });

  /** The mean difference per token, in nats, which is what quantising this model costs. */
  const measured: Record<QuantizedType, number> = {
    Q8_0: 0.03,
    Q6_K: 0.07,
    Q5_K_M: 0.11,
    Q5_K_S: 0.12,
    Q5_0: 0.13,
    Q4_K_M: 0.2,
    Q4_K_S: 0.21,
    IQ4_XS: 0.24,
    IQ4_NL: 0.25,
    Q4_0: 0.29,
    Q3_K_M: 0.49,
    Q2_K: 1.9,
  };
  test.each(Object.keys(measured) as QuantizedType[])('stories260K, padded to rows of 256, as %s', async (type) => {
    const [input, output] = [join(folder, 'padded.gguf'), join(folder, 'padded-quantised.gguf')];
    await writeTestGguf(paddedModel(await testModel(join(shared!, 'models/stories260K-eos1'))), input, 'F32');
    const { tensorTypes, fallbacks } = await quantizeGguf({ input, output, type });
    expect(fallbacks).toEqual([]);
    expect(tensorTypes[fileTypes[type].matrices]).toBeGreaterThan(15);
    expect((await headerOf(output)).metadata.get('general.file_type')).toEqual(u32(fileTypes[type].id));
    const found = await differences(output, storiesGoldens());
    expect(mean(found)).toBeGreaterThan(0);
    expect(mean(found)).toBeLessThan(1.2 * measured[type]);
  });
});

/** A vocabulary that is just enough for llama.cpp to open the file. */
function wordVocabulary(size: number): Map<string, GgufValue> {
  const words = Array.from({ length: size }, (_, id) => `w${id}`);
  return new Map([
    ['tokenizer.ggml.model', text('gpt2')],
    ['tokenizer.ggml.pre', text('gpt-2')],
    ['tokenizer.ggml.tokens', textArray(words)],
    ['tokenizer.ggml.token_type', i32Array(words.map(() => 1))],
    ['tokenizer.ggml.merges', textArray(['w 0'])],
    ['tokenizer.ggml.eos_token_id', u32(2)],
  ]);
}

const wide = () => randomModel(64, wordVocabulary(64), { hiddenSize: 256, intermediateSize: 512, layerCount: 2 });
const ids = Int32Array.from({ length: 300 }, (_, index) => (index * 31 + 5) % 64);

describe('quantising', () => {
  test('makes Q4_K_M from rows of 256, with logps near those of the original', async () => {
    const [input, output] = [join(folder, 'wide.gguf'), join(folder, 'wide-q4.gguf')];
    await writeTestGguf(wide(), input, 'F16');
    const { tensorTypes, fallbacks } = await quantizeGguf({ input, output, type: 'Q4_K_M' });
    expect(fallbacks).toEqual([]);
    expect(tensorTypes.Q4_K).toBeGreaterThan(0);
    expect(tensorTypes.Q6_K).toBeGreaterThan(0);
    expect((await headerOf(output)).metadata.get('general.file_type')).toEqual(u32(15));
    const [before, after] = [await openJudge(input), await openJudge(output)];
    try {
      const [exact] = await before.tokenLogps([ids]);
      const [close] = await after.tokenLogps([ids]);
      expect(close!.every(Number.isFinite)).toBe(true);
      const found = [...close!].map((logp, index) => Math.abs(logp - exact![index]!));
      expect(mean(found)).toBeGreaterThan(0);
      expect(mean(found)).toBeLessThan(0.5);
      const { klDivergence, topAgreement } = await after.divergenceFrom(input, [{ ids, from: 1 }]);
      expect(klDivergence).toBeGreaterThan(0);
      expect(klDivergence).toBeLessThan(0.1);
      expect(topAgreement).toBeGreaterThan(0.5);
      expect(topAgreement).toBeLessThan(1);
    } finally {
      await Promise.all([before.close(), after.close()]);
    }
  });

  test('gives the same bytes with any number of threads', async () => {
    const input = join(folder, 'again.gguf');
    await writeTestGguf(wide(), input, 'BF16');
    const outputs = ['1', '2'].map((name) => join(folder, `again-${name}.gguf`));
    for (const [index, output] of outputs.entries()) {
      await quantizeGguf({ input, output, type: 'Q4_K_M', threads: index + 1 });
    }
    const [first, second] = await Promise.all(outputs.map((path) => readFile(path)));
    expect(first!.equals(second!)).toBe(true);
  });

  test('refuses a broken file and removes the output', async () => {
    const [input, output] = [join(folder, 'broken.gguf'), join(folder, 'broken-q8.gguf')];
    writeFileSync(input, Buffer.from('GGUF\x03\x00\x00\x00 and nothing of use'));
    await expect(quantizeGguf({ input, output, type: 'Q8_0' })).rejects.toMatchObject({ reason: 'INVALID_FILE' });
    expect(existsSync(output)).toBe(false);
  });

  test('is cancelled by its signal', async () => {
    const [input, output] = [join(folder, 'cancelled.gguf'), join(folder, 'cancelled-q8.gguf')];
    await writeTestGguf(wide(), input, 'F16');
    const controller = new AbortController();
    const done = quantizeGguf({ input, output, type: 'Q8_0', signal: controller.signal });
    controller.abort();
    await expect(done).rejects.toMatchObject({ reason: 'CANCELLED' });
    expect(existsSync(output)).toBe(false);
  });
});

describe('judging', () => {
  let judge: Judge;
  const path = join(folder, 'judge.gguf');
  beforeAll(async () => {
    await writeTestGguf(wide(), path, 'F32');
    judge = await openJudge(path);
  });
  afterAll(() => judge.close());

  test('returns the metadata of the file', () => {
    expect(judge).toMatchObject({ vocabSize: 64, eosId: 2, endIds: Int32Array.of(2), contextTokens: 512 });
  });

  test('a file does not diverge from itself, and its divergence from another is that of their distributions', async () => {
    const same = await judge.divergenceFrom(path, [{ ids, from: 7 }]);
    const own = [(await judge.tokenLogps([ids]))[0]!.slice(6)];
    expect(same).toEqual({ klDivergence: 0, topAgreement: 1, logps: own, otherLogps: own });
    const other = join(folder, 'other.gguf');
    await writeTestGguf(wide(), other, 'BF16');
    const prefix = ids.slice(0, 40);
    const { klDivergence } = await judge.divergenceFrom(other, [{ ids: prefix, from: 39 }]);
    const every = Array.from({ length: 64 }, (_, id) => Int32Array.of(...prefix.slice(0, 39), id));
    const logps = async (file: Judge) => (await file.tokenLogps(every)).map((each) => each.at(-1)!);
    const rival = await openJudge(other);
    const [p, q] = [await logps(rival), await logps(judge)];
    await rival.close();
    const expected = p.reduce((sum, logp, token) => sum + Math.exp(logp) * (logp - q[token]!), 0);
    expect(klDivergence).toBeCloseTo(expected, 6);
    expect(klDivergence).toBeGreaterThan(0);
  });

  test('probabilities sum to 1, and sequences do not affect each other', async () => {
    const prefixes = Array.from({ length: 64 }, (_, id) => Int32Array.of(7, 8, 9, id));
    const last = (await judge.tokenLogps(prefixes)).map((logps) => logps.at(-1)!);
    expect(last.reduce((sum, logp) => sum + Math.exp(logp), 0)).toBeCloseTo(1, 5);
    const [long, short] = await judge.tokenLogps([ids, ids.slice(0, 40)]);
    expect(long!.length).toBe(299);
    for (let index = 0; index < 39; index++) expect(short![index]).toBeCloseTo(long![index]!, 4);
  });

  test('a large context, which is computed fewer tokens at a time, gives the same logps', async () => {
    const roomy = await openJudge(path, { contextTokens: 2 ** 16 });
    const [wanted] = await judge.tokenLogps([ids]);
    const [found] = await roomy.tokenLogps([ids]);
    await roomy.close();
    for (const [index, logp] of wanted!.entries()) expect(found![index]).toBeCloseTo(logp, 4);
  });

  test('greedy generation takes the most likely token each time', async () => {
    const prompt = Int32Array.of(5, 36, 3);
    const [generation] = await judge.generate([prompt], { maxTokens: 12, temperature: 0 });
    const sequence = Int32Array.from([...prompt, ...generation!.ids]);
    const chosen = (await judge.tokenLogps([sequence]))[0]!.slice(prompt.length - 1);
    for (const [index, logp] of chosen.entries()) {
      const rivals = Array.from({ length: 64 }, (_, id) =>
        Int32Array.of(...sequence.slice(0, prompt.length + index), id),
      );
      const best = Math.max(...(await judge.tokenLogps(rivals)).map((logps) => logps.at(-1)!));
      expect(logp).toBeCloseTo(best, 4);
    }
  });

  test('sampling depends on seed and temperature', async () => {
    const prompts = Array.from({ length: 4 }, () => Int32Array.of(5, 36, 3));
    const options = { maxTokens: 20, temperature: 1 };
    const one = await judge.generate(prompts, { ...options, seed: 7 });
    expect(await judge.generate(prompts, { ...options, seed: 7 })).toEqual(one);
    expect(await judge.generate(prompts, { ...options, seed: 8 })).not.toEqual(one);
    // The second prompt's seed is one more than the first's.
    expect((await judge.generate(prompts, { ...options, seed: 8 }))[0]).toEqual(one[1]);
    const cold = await judge.generate(prompts, { ...options, temperature: 0.001, seed: 7 });
    const greedy = await judge.generate(prompts, { ...options, temperature: 0 });
    expect(cold.map(({ ids: tokens }) => tokens)).toEqual(greedy.map(({ ids: tokens }) => tokens));
  });

  test('generation ends at a stop token, at its limit, and when the context is full', async () => {
    const prompt = Int32Array.of(5, 36, 3);
    const free = (await judge.generate([prompt], { maxTokens: 10, temperature: 0 }))[0]!;
    expect(free).toMatchObject({ stopped: false });
    expect(free.ids.length).toBe(10);
    const stop = free.ids[4]!;
    const stopped = (await judge.generate([prompt], { maxTokens: 10, temperature: 0, stopIds: [stop] }))[0]!;
    expect(stopped).toEqual({ ids: free.ids.slice(0, free.ids.indexOf(stop)), stopped: true });
    const full = (await judge.generate([ids], { maxTokens: 1000, temperature: 1, seed: 1, stopIds: [] }))[0]!;
    expect(full.ids.length).toBeLessThanOrEqual(212);
  });

  test('errors name the problem, and the judge stays usable', async () => {
    await expect(judge.tokenLogps([Int32Array.of(1, 64)])).rejects.toThrow('token 64 is not in the vocabulary of 64');
    await expect(judge.tokenLogps([new Int32Array(513)])).rejects.toThrow('513 tokens');
    await expect(judge.tokenLogps([new Int32Array(0)])).rejects.toMatchObject({ reason: 'INTERNAL' });
    expect((await judge.tokenLogps([ids]))[0]!.length).toBe(299);
  });

  test('a file that makes llama.cpp abort does not end this process', async () => {
    const hostile = join(folder, 'hostile.gguf');
    const vocabulary = wordVocabulary(64);
    // Two tokens with the same text break an assertion in llama.cpp, which ends the process.
    vocabulary.set('tokenizer.ggml.tokens', textArray(Array.from({ length: 64 }, (_, id) => `w${id % 32}`)));
    await writeTestGguf(randomModel(64, vocabulary), hostile, 'F32');
    await expect(openJudge(hostile)).rejects.toMatchObject({ reason: 'INVALID_FILE' });
    await expect(openJudge(hostile)).rejects.toThrow(/SIGABRT.*GGML_ASSERT/);
  });

  test('incomplete files are refused with the problem', async () => {
    const lacking = join(folder, 'lacking.gguf');
    const vocabulary = wordVocabulary(64);
    vocabulary.set('tokenizer.ggml.pre', text('nobody-knows'));
    await writeTestGguf(randomModel(64, vocabulary), lacking, 'F32');
    await expect(openJudge(lacking)).rejects.toThrow(/unknown pre-tokenizer type/);
    const cut = join(folder, 'cut.gguf');
    await copyFile(path, cut);
    writeFileSync(cut, readFileSync(path).subarray(0, 100_000));
    await expect(openJudge(cut)).rejects.toMatchObject({ reason: 'INVALID_FILE' });
  });
});
