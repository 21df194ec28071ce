import { closeSync, ftruncateSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  declaredBaseModel,
  expectedTensors,
  expertRows,
  initialLora,
  loraLayout,
  parseConfig,
  targetModules,
  type BaseModel,
  type LoraSettings,
  type Weight,
} from '@pairwise/model';
import { headChunkRows, peakBytes } from '@pairwise/onnx';
import { openSession } from '@pairwise/ort';
import { afterAll, describe, expect, test } from 'vitest';
import { dpoStep, treeOf, type TrainingPair } from './dpo.ts';
import { dpoGraph, referenceGraph } from './graphs.ts';
import { resolveHyperparameters } from './hyperparameters.ts';
import { treeLogps } from './logps.ts';
import {
  describeMemory,
  fits,
  microBatchShape,
  outOfMemory,
  referenceMemory,
  totalBytes,
  trainingMemory,
  type Memory,
} from './memoryPlan.ts';
import { initialState } from './optimizer.ts';
import { uniformStream } from './random.ts';

const folder = mkdtempSync(join(tmpdir(), 'pairwise-memory-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** A model whose weights are a hole in a file: zeros that take no disk. */
function modelOfZeros(): BaseModel {
  const config = parseConfig({
    architectures: ['LlamaForCausalLM'],
    hidden_act: 'silu',
    hidden_size: 512,
    intermediate_size: 2048,
    num_hidden_layers: 4,
    num_attention_heads: 8,
    num_key_value_heads: 2,
    vocab_size: 20_000,
    max_position_embeddings: 8192,
    rms_norm_eps: 1e-5,
    rope_theta: 10_000,
    tie_word_embeddings: true,
  });
  const weights = new Map<string, Weight>();
  let offset = 0;
  for (const [name, shape] of expectedTensors(config)) {
    const length = 2 * shape.reduce((product, size) => product * size, 1);
    weights.set(name, { name, dtype: 'BF16', shape, file: 'zeros', offset, length });
    offset += length;
  }
  const file = openSync(join(folder, 'zeros'), 'w');
  ftruncateSync(file, offset);
  closeSync(file);
  return { config, weights, isTextPart: false };
}

const tokens = (length: number) => Int32Array.from({ length }, (_, index) => index % 1000);
const pair = (prompt: number, response: number): TrainingPair => ({
  prompt: tokens(prompt),
  chosen: tokens(response),
  rejected: tokens(response),
  referenceChosen: 0,
  referenceRejected: 0,
});
const packed = Array.from({ length: 4 }, () => pair(96, 80));
const long = [pair(1000, 750)];

const base = modelOfZeros();
const lora = { r: 16, loraAlpha: 32, targetModules: [...targetModules], useRslora: false };

/** How much anonymous memory work takes at its peak, in bytes, besides what the process had before. */
async function anonymousBytes(work: () => Promise<unknown>): Promise<number> {
  const now = () => 1024 * Number(/^RssAnon:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))![1]);
  const before = now();
  let peak = before;
  const sampling = setInterval(() => (peak = Math.max(peak, now())), 5);
  await work();
  clearInterval(sampling);
  return peak - before;
}

function expectSimilar(measured: number, { activationBytes, adapterBytes }: Memory): void {
  const planned = activationBytes + adapterBytes;
  // Beside it there are 20 to 50 MB of buffers of threads and of this process, which the plan counts with the process.
  expect(measured / planned).toBeGreaterThan(0.75);
  expect(measured / planned).toBeLessThan(1.3);
}

describe.runIf(process.platform === 'linux')('the plan is what the runtime takes', () => {
  test.each([
    ['cheap', packed],
    ['layers', packed],
    ['layers', long],
  ] as const)('for training with activation checkpointing %s', async (activationCheckpointing, pairs) => {
    const graph = dpoGraph(base, lora, 'sigmoid', { activationCheckpointing });
    const layout = loraLayout(base.config, lora);
    const hyperparameters = resolveHyperparameters({ batchSize: 8 }, 'spec');
    const session = await openSession({ graph, folder, threads: 2 });
    const state = initialState(initialLora(layout, uniformStream(0, 'lora')));
    const task = { config: base.config, layout, pairs, hyperparameters };
    const measured = await anonymousBytes(() => dpoStep(session.run, task, state));
    await session.close();
    const shape = microBatchShape(pairs, 1024);
    expectSimilar(measured, trainingMemory(base, { lora, lossType: 'sigmoid' }, activationCheckpointing, shape));
  });

  test('for the reference', async () => {
    const session = await openSession({ graph: referenceGraph(base), folder, threads: 2 });
    const measured = await anonymousBytes(() => treeLogps(session.run, base.config, long.map(treeOf)));
    await session.close();
    expectSimilar(measured, referenceMemory(base, microBatchShape(long, 1024)));
  });
});

test('recomputing layers, shorter micro-batches and a smaller adapter take less', () => {
  const memory = (level: 'cheap' | 'layers', rows: number, r = 16) =>
    totalBytes(
      trainingMemory(base, { lora: { ...lora, r }, lossType: 'sigmoid' }, level, { ...microBatchShape(packed, rows) }),
    );
  const plain = memory('cheap', 1024);
  for (const less of [memory('layers', 1024), memory('cheap', 512), memory('cheap', 1024, 4)]) {
    expect(less).toBeLessThan(plain);
  }
});

test('work may take 90 % of a worker’s memory, and a refusal says what it needs and what helps', () => {
  const memory = { weightBytes: 4e9, activationBytes: 3e9, adapterBytes: 0, processBytes: 0.5e9 };
  expect(fits(memory, 7.5e9 / 0.9 + 1)).toBe(true);
  expect(fits(memory, 7.5e9 / 0.9 - 1)).toBe(false);
  expect(outOfMemory('a worker', memory, 8e9, ['eat less'])).toMatchObject({
    reason: 'OUT_OF_MEMORY',
    message:
      'a worker needs 7.5 GB (weights 4.0 GB, activations 3.0 GB, process 0.50 GB), but may use only 90 % of its 8.0 GB; ' +
      'eat less, or use workers with more memory',
    metadata: { needed_bytes: '7500000000', available_bytes: '8000000000' },
  });
  expect(describeMemory({ ...memory, adapterBytes: 1e9 })).toContain('adapter and optimizer 1.0 GB');
});

/** Sizes of a micro-batch of this shape. */
const shape = { rows: 1024, targets: 900, longestRows: 254 };
const numbers: Record<string, number> = {
  ...{ T: 1024, N: 900, P: 342, M: 16, C: 128, K: 254, R: headChunkRows, rows: 1025 },
  ...{ done: 1024, before: 1024, changed: 254 },
};

test.each(['cheap', 'layers'] as const)('the first layers say what all layers take (%s)', (level) => {
  const deep = { ...base.config, layerCount: 9, layers: Array.from({ length: 9 }, () => base.config.layers[0]!) };
  const model = declaredBaseModel(deep, 'BF16');
  const whole = peakBytes(
    dpoGraph(model, lora, 'sigmoid', { activationCheckpointing: level }),
    (name) => numbers[name],
  );
  const { activationBytes, weightBytes } = trainingMemory(model, { lora, lossType: 'sigmoid' }, level, shape);
  expect(Math.abs(activationBytes / (1.2 * whole) - 1)).toBeLessThan(1e-6);
  expect(weightBytes).toBe([...model.weights.values()].reduce((sum, { length }) => sum + length, 0));
});

test.each(['cheap', 'layers'] as const)('the first experts say what all experts take (%s)', (level) => {
  const config = parseConfig({
    architectures: ['Qwen3MoeForCausalLM'],
    hidden_act: 'silu',
    hidden_size: 512,
    intermediate_size: 2048,
    moe_intermediate_size: 256,
    num_hidden_layers: 2,
    num_attention_heads: 8,
    vocab_size: 20_000,
    max_position_embeddings: 8192,
    num_experts: 64,
    num_experts_per_tok: 4,
  });
  const model = declaredBaseModel(config, 'BF16');
  const attention: LoraSettings = { ...lora, targetModules: ['q_proj', 'v_proj'] };
  const graph = dpoGraph(model, attention, 'sigmoid', { activationCheckpointing: level });
  const whole = peakBytes(graph, (name) => (name.startsWith(expertRows) ? (1024 * 4) / 64 : numbers[name]));
  const plan = trainingMemory(model, { lora: attention, lossType: 'sigmoid' }, level, shape);
  expect(Math.abs(plan.activationBytes / (1.2 * whole) - 1)).toBeLessThan(1e-4);
  expect(plan.weightBytes).toBe([...model.weights.values()].reduce((sum, { length }) => sum + length, 0));
});
