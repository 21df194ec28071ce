import { BaseQuantization, StartTrainingRequest, TrainingServiceService } from '@pairwise/api';
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
  const message = `coverage '${names.int8}' is of BASE_QUANTIZATION_INT8, but spec.base_quantization is BASE_QUANTIZATION_NONE`;
  await expect(refused).rejects.toMatchObject({ message: expect.stringContaining(message) as string });
});

test('an ended training is deleted with its checkpoints', async () => {
  const { name } = (await client.startTraining(requestFor('deleted', spec))).training!;
  await expect(client.deleteTraining({ name })).rejects.toMatchObject({ reason: 'WRONG_STATE', field: 'name' });
  const { latestCheckpoint } = await service.untilEnded(name);
  await client.deleteTraining({ name });
  const missing = { reason: 'NOT_FOUND', field: 'name' };
  await expect(client.getTraining({ name })).rejects.toMatchObject(missing);
  await expect(client.getCheckpoint({ name: latestCheckpoint })).rejects.toMatchObject(missing);
  await expect(client.deleteTraining({ name })).rejects.toMatchObject(missing);
  const again = client.startTraining(requestFor('deleted', spec));
  await expect(again).rejects.toMatchObject({ reason: 'ALREADY_EXISTS', field: 'training_id' });
});

const good = {
  startTraining: StartTrainingRequest.toJSON(requestFor('limits', { losses: [{ type: 'sigmoid' }] })) as object,
  watchTraining: { name: `${requestFor('x').parent}/trainings/straight` },
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
