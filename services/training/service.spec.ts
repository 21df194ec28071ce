import {
  ActivationCheckpointing,
  BaseQuantization,
  EstimateTrainingRequest,
  StartTrainingRequest,
  TrainingServiceService,
} from '@pairwise/api';
import { offences, send } from '@pairwise/api/testing';
import type { Client } from '@pairwise/rpc';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { names, requestFor } from './testing.peers.ts';
import { startTestTraining, type TestTraining } from './testing.ts';

let service: TestTraining;
let client: Client<typeof TrainingServiceService>;

beforeAll(async () => {
  service = await startTestTraining();
  ({ client } = service);
});
afterAll(() => service.stop());

const spec = { duration: { $case: 'maxSteps' as const, value: 8 }, saveSteps: 2, learningRate: 1e-2, batchSize: 4 };

test('the same request starts the same training, and other inputs are refused', async () => {
  const started = (await client.startTraining(requestFor('straight', spec))).training!;
  const training = await service.untilEnded(started.name);
  expect((await client.startTraining(requestFor('straight', spec))).training).toEqual(training);
  const other = client.startTraining(requestFor('straight', { ...spec, beta: 0.2 }));
  await expect(other).rejects.toMatchObject({ reason: 'ALREADY_EXISTS', field: 'training_id' });
});

test('a reference in another quantisation is refused with the names of both', async () => {
  const refused = client.startTraining({ ...requestFor('mixed', spec), coverage: names.int8 });
  const message = `coverage '${names.int8}' is of BASE_QUANTIZATION_INT8, but spec.base_quantization is BASE_QUANTIZATION_NONE; call EnsureLogps with BASE_QUANTIZATION_NONE`;
  await expect(refused).rejects.toMatchObject({ message: expect.stringContaining(message) as string });
});

test('an ended training is deleted with its checkpoints', async () => {
  const { name } = (await client.startTraining(requestFor('deleted', spec))).training!;
  const list = async () => {
    const { trainings } = await client.listTrainings({ parent: requestFor('x').parent, pageSize: 0, pageToken: '' });
    return trainings.map((each) => each.name);
  };
  expect(await list()).toContain(name);
  await expect(client.deleteTraining({ name, requestId: 'a' })).rejects.toMatchObject({
    reason: 'WRONG_STATE',
    field: 'name',
  });
  const { latestCheckpoint } = await service.untilEnded(name);
  await client.deleteTraining({ name, requestId: 'a' });
  await client.deleteTraining({ name, requestId: 'a' });
  expect(await list()).not.toContain(name);
  const missing = { reason: 'NOT_FOUND', field: 'name' };
  await expect(client.getTraining({ name })).rejects.toMatchObject(missing);
  await expect(client.getCheckpoint({ name: latestCheckpoint })).rejects.toMatchObject(missing);
  await expect(client.deleteTraining({ name, requestId: '' })).rejects.toMatchObject(missing);
  const again = client.startTraining(requestFor('deleted', spec));
  await expect(again).rejects.toMatchObject({ reason: 'ALREADY_EXISTS', field: 'training_id' });
});

const modelConfig = JSON.stringify({
  architectures: ['LlamaForCausalLM'],
  hidden_size: 1024,
  intermediate_size: 4096,
  num_hidden_layers: 4,
  num_attention_heads: 16,
  num_key_value_heads: 4,
  vocab_size: 32_000,
  max_position_embeddings: 4096,
});
const estimate = {
  parent: 'projects/default',
  modelConfig,
  dtype: 'BF16',
  pairCount: 100,
  tokenCount: 20_000n,
  longestPairLength: 900,
};

const sigmoid = { losses: [{ type: 'sigmoid' }] };
const good = {
  startTraining: StartTrainingRequest.toJSON(requestFor('limits', sigmoid)) as object,
  estimateTraining: EstimateTrainingRequest.toJSON(
    EstimateTrainingRequest.fromPartial({ ...estimate, spec: sigmoid }),
  ) as object,
  watchTraining: { name: `${requestFor('x').parent}/trainings/straight` },
  listTrainings: { parent: requestFor('x').parent },
  listCheckpoints: { parent: `${requestFor('x').parent}/trainings/straight` },
};
test.each(offences('TrainingService', good))('$method refuses $field of $value', async (offence) => {
  const refused = send(client, TrainingServiceService, offence);
  await expect(refused).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT', field: offence.field });
});

test.each<[string, string, object]>([
  ['NOT_FOUND', 'model', { model: `${names.model}-none` }],
  ['NOT_FOUND', 'encoding', { encoding: `${names.encoding}-none` }],
  ['NOT_FOUND', 'coverage', { coverage: `${names.coverage}-none` }],
  ['MISSING_LOGPS', 'coverage', { coverage: names.begun }],
  ['WRONG_STATE', 'spec.base_quantization', { spec: requestFor('x', { baseQuantization: BaseQuantization.NF4 }).spec }],
  ['INVALID_ARGUMENT', 'coverage', { coverage: names.int8 }],
  ['INVALID_ARGUMENT', 'parent', { parent: 'default' }],
  ['INVALID_ARGUMENT', 'training_id', { trainingId: 'Not_A_Label' }],
  ['INVALID_ARGUMENT', 'eval_fraction', { evaluation: { $case: 'evalFraction', value: 1 } }],
  [
    'INVALID_ARGUMENT',
    'spec.num_train_epochs',
    {
      encoding: names.endless,
      spec: requestFor('x', { duration: { $case: 'numTrainEpochs', value: 10_000 } }).spec,
    },
  ],
  ['INVALID_ARGUMENT', 'spec.beta', { spec: requestFor('x', { beta: 0 }).spec }],
  [
    'UNKNOWN_FIELD',
    'spec',
    { spec: { ...requestFor('x').spec!, _unknownFields: { 7994: [new Uint8Array([1, 120])] } } },
  ],
])('%s: %s', async (reason, field, change) => {
  const refused = client.startTraining({ ...requestFor('refused'), ...change });
  await expect(refused).rejects.toMatchObject({ reason, field });
  await expect(client.getTraining({ name: `${requestFor('x').parent}/trainings/refused` })).rejects.toThrow();
});

test('an estimate says how much memory a training takes and how it is trained, and for how long once a rate is known', async () => {
  const request = EstimateTrainingRequest.fromPartial({ ...estimate, spec: { learningRate: 1e-4 } });
  const before = (await client.estimateTraining(request)).estimate!;
  expect(before).toMatchObject({ stepCount: 13, workerCount: 1, durationSeconds: undefined });
  expect(before.resolvedSpec).toMatchObject({
    activationCheckpointing: ActivationCheckpointing.CHEAP,
    microBatchRows: 1024,
  });
  const { weightBytes, availableBytes, ...parts } = before.memory!;
  // 4 layers of 2 x 1024 x 1024 + 2 x 256 x 1024 + 3 x 4096 x 1024, and 32,000 x 1024, in two bytes each, and some norms.
  expect(Number(weightBytes) / (2 * (4 * 15_204_352 + 2 * 32_768_000))).toBeCloseTo(1, 3);
  expect(availableBytes).toBe(0n);
  for (const part of ['activationBytes', 'adapterBytes', 'processBytes'] as const) {
    expect(parts[part]).toBeGreaterThan(1_000_000n);
  }
  await service.deps.rates.add(service.database, service.deps.numericsProfile, 1e9);
  const { durationSeconds } = (await client.estimateTraining(request)).estimate!;
  // 20,000 rows with about twice the model's 60 million weights, and its head, at 1e9 a second.
  expect(durationSeconds).toBeGreaterThan(2400);
  expect(durationSeconds).toBeLessThan(4000);
});

test('an estimate of longer pairs or of another adapter differs, and a quantised base has smaller weights', async () => {
  const memoryOf = async (change: object) =>
    (await client.estimateTraining(EstimateTrainingRequest.fromPartial({ ...estimate, ...change }))).estimate!.memory!;
  const [plain, long, quantized] = [
    await memoryOf({}),
    await memoryOf({ longestPairLength: 4000 }),
    await memoryOf({ spec: { baseQuantization: BaseQuantization.NF4 } }),
  ];
  expect(long.activationBytes).toBeGreaterThan(plain.activationBytes);
  expect(quantized.weightBytes).toBeLessThan(plain.weightBytes);
});

test.each([
  ['parent', { parent: 'default' }],
  ['model_config', { modelConfig: '{' }],
  ['dtype', { dtype: 'I8' }],
  ['pair_count', { pairCount: 0 }],
])('an estimate with an invalid %s is refused by its name', async (field, change) => {
  const refused = client.estimateTraining(EstimateTrainingRequest.fromPartial({ ...estimate, ...change }));
  await expect(refused).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT', field });
});
