import { declaredBaseModel, parseConfig } from '@pairwise/model';
import { expect, test } from 'vitest';
import { planTraining, resolveHyperparameters, totalBytes } from './index.ts';

const config = parseConfig({
  architectures: ['LlamaForCausalLM'],
  hidden_act: 'silu',
  hidden_size: 2048,
  intermediate_size: 8192,
  num_hidden_layers: 4,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  vocab_size: 32_000,
  max_position_embeddings: 8192,
  rms_norm_eps: 1e-5,
  rope_theta: 10_000,
  tie_word_embeddings: true,
});
const base = declaredBaseModel(config, 'BF16');
const hyperparameters = resolveHyperparameters({}, 'spec');
const shapeOf = (rowLimit: number) => ({ rows: Math.max(rowLimit, 200), targets: rowLimit, longestRows: 200 });
const plan = (availableBytes?: number, spec: Parameters<typeof resolveHyperparameters>[0] = {}) =>
  planTraining(base, { hyperparameters: resolveHyperparameters(spec, 'spec'), shapeOf, availableBytes });
const needs = (activationCheckpointing: 'cheap' | 'layers', rows: number) =>
  totalBytes(
    planTraining(base, {
      hyperparameters: { ...hyperparameters, microBatchRows: rows },
      activationCheckpointing,
      shapeOf,
    }).memory,
  );

test('the fastest way that fits is chosen: first layers are recomputed, then micro-batches become smaller', () => {
  const chosen = (bytes?: number) => {
    const { activationCheckpointing, microBatchRows, memory } = plan(bytes);
    if (bytes !== undefined) expect(totalBytes(memory)).toBeLessThanOrEqual(0.9 * bytes);
    return [activationCheckpointing, microBatchRows];
  };
  const enough = (bytes: number) => Math.ceil(bytes / 0.9);
  expect(chosen()).toEqual(['cheap', 1024]);
  expect(chosen(enough(needs('cheap', 1024)))).toEqual(['cheap', 1024]);
  expect(chosen(enough(needs('cheap', 1024)) - 1000)).toEqual(['layers', 1024]);
  expect(chosen(enough(needs('layers', 256)))).toEqual(['layers', 256]);
});

test('what the caller asked for is kept, or refused if it does not fit', () => {
  expect(plan(undefined, { microBatchRows: 64 }).microBatchRows).toBe(64);
  const bytes = needs('layers', 1024);
  expect(() =>
    planTraining(base, { hyperparameters, activationCheckpointing: 'cheap', shapeOf, availableBytes: bytes / 3 }),
  ).toThrow(/set activation_checkpointing to LAYERS/);
});

test('the refusal says how much is needed at least, and what helps', () => {
  const refusal = expect.objectContaining({
    reason: 'OUT_OF_MEMORY',
    message: expect.stringMatching(
      /^a training worker needs \d\.\d+ GB \(weights 0\.\d+ GB, activations .*\), but may use only 90 % of its 0\.50 GB; set base_quantization to NF4, or use workers/,
    ) as string,
    metadata: { needed_bytes: String(needs('layers', 128)), available_bytes: '500000000' },
  }) as Error;
  expect(() => plan(500e6)).toThrow(refusal);
  const long = () => ({ rows: 9000, targets: 5000, longestRows: 9000 });
  expect(() => planTraining(base, { hyperparameters, shapeOf: long, availableBytes: 1e9 })).toThrow(
    /lower max_length \(the longest pair has 9000 tokens\)/,
  );
});

test('a quantised base takes less', () => {
  const quantized = declaredBaseModel(config, 'BF16', 'NF4');
  const { memory } = planTraining(quantized, { hyperparameters, shapeOf });
  // The linear layers in 4.5 bits instead of 16; the embedding stays.
  const [linear, embedding] = [4 * (2 * 2048 ** 2 + 2 * 512 * 2048 + 3 * 8192 * 2048), 32_000 * 2048];
  const norms = (4 * 2 + 1) * 2048;
  expect(memory.weightBytes).toBe(linear * (4.5 / 8) + 2 * (embedding + norms));
  expect(plan().memory.weightBytes).toBe(2 * (linear + embedding + norms));
});
