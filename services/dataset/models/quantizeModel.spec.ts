import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { BaseQuantization, QuantizationState, type Model, type ModelQuantization } from '@pairwise/api';
import { parseDigest } from '@pairwise/fingerprint';
import { expectedTensors, parseConfig, quantizedLinears, readBaseModel } from '@pairwise/model';
import { streamSafetensors, writeSafetensors } from '@pairwise/safetensors';
import { writeTinyModel } from '@pairwise/testing';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parent, startTestService, type TestService } from '../testing.ts';
import { folderOf } from './models.ts';

const { INT8, NF4 } = BaseQuantization;
const { RUNNING, READY, FAILED } = QuantizationState;

let service: TestService;
beforeAll(async () => (service = await startTestService()));
afterAll(() => service.stop());

/** Imports the tiny model under an id, after `alter` has changed its folder. */
async function imported(id: string, alter: (folder: string) => void = () => undefined): Promise<Model> {
  const folder = join(service.folder, id);
  writeTinyModel(folder);
  alter(folder);
  const { name } = await service.importModel({ source: { $case: 'uri', value: folder } }, id);
  return service.imported(name);
}

const ensure = async ({ name }: Pick<Model, 'name'>, type: BaseQuantization) =>
  (await service.model.ensureQuantization({ name, type })).model!;

const quantizationOf = ({ quantizations }: Model, type: BaseQuantization) =>
  quantizations.find((each) => each.type === type)!;

async function ended({ name }: Model, type: BaseQuantization): Promise<ModelQuantization> {
  for (;;) {
    const found = quantizationOf((await service.model.getModel({ name })).model!, type);
    if (found.state !== RUNNING) return found;
    await sleep(20);
  }
}

/** Changes the MLP's width, with weights of zeros. */
function resize(intermediateSize: number) {
  return (folder: string) => {
    const path = join(folder, 'config.json');
    const config = JSON.parse(readFileSync(path, 'utf8')) as object;
    const changed = { ...config, intermediate_size: intermediateSize };
    writeFileSync(path, JSON.stringify(changed));
    const tensors = [...expectedTensors(parseConfig(changed))].map(([name, shape]) => {
      const data = new Float32Array(shape.reduce((a, b) => a * b, 1));
      return { name, dtype: 'F32' as const, shape, data };
    });
    writeFileSync(join(folder, 'model.safetensors'), writeSafetensors(tensors));
  };
}

test.each([
  [INT8, 'INT8'],
  [NF4, 'NF4'],
] as const)('%s: the layers are quantised once, to the same bytes for the same model', async (type, quantization) => {
  const model = await imported(quantization.toLowerCase());
  const started = await ensure(model, type);
  expect(quantizationOf(started, type)).toMatchObject({ digest: '', error: undefined });
  const ready = await ended(model, type);
  expect(ready).toMatchObject({ state: READY, error: undefined, writtenSizeBytes: ready.sizeBytes });

  const bytes = await service.blobs.get(parseDigest(ready.digest));
  expect(ready.sizeBytes).toBe(BigInt(bytes.length));
  const folder = folderOf(model, service.blobs);
  const tensors = quantizedLinears(folder, await readBaseModel(folder), quantization);
  expect(bytes).toEqual(Buffer.concat(await Array.fromAsync(streamSafetensors(tensors))));

  expect(quantizationOf(await ensure(model, type), type)).toEqual(ready);
  const copy = await imported(`${quantization.toLowerCase()}-copy`);
  await ensure(copy, type);
  expect(await ended(copy, type)).toEqual(ready);
});

test('concurrent calls quantise a model once, and each type is on its own', async () => {
  const model = await imported('concurrent');
  await Promise.all(Array.from({ length: 8 }, (_, n) => ensure(model, n % 2 === 0 ? INT8 : NF4)));
  const [int8, nf4] = [await ended(model, INT8), await ended(model, NF4)];
  expect(int8.digest).not.toBe(nf4.digest);
  const { model: found } = await service.model.getModel({ name: model.name });
  expect(found!.quantizations).toHaveLength(2);
});

test('a layer that cannot be NF4 fails the quantisation with its name, and INT8 still works', async () => {
  const model = await imported('odd', resize(65));
  await ensure(model, NF4);
  const failed = await ended(model, NF4);
  expect(failed).toMatchObject({ state: FAILED, digest: '' });
  expect(failed.error?.message).toContain('model.layers.0.mlp.gate_proj.weight is [65, 32]; NF4 needs');
  await ensure(model, INT8);
  expect((await ended(model, INT8)).state).toBe(READY);
});

test('a quantisation that failed is started again by another call', async () => {
  const model = await imported('damaged', resize(128));
  const weights = parseDigest(model.files.find(({ path }) => path === 'model.safetensors')!.digest);
  const bytes = await service.blobs.get(weights);
  await service.blobs.delete(weights);
  await ensure(model, NF4);
  expect((await ended(model, NF4)).state).toBe(FAILED);
  await service.blobs.put(bytes);
  expect(quantizationOf(await ensure(model, NF4), NF4)).toMatchObject({ state: RUNNING, error: undefined });
  expect((await ended(model, NF4)).state).toBe(READY);
});

test('a model that is deleted while it is quantised is gone', async () => {
  const model = await imported('deleted');
  await ensure(model, NF4);
  await service.model.deleteModel({ name: model.name, requestId: '' });
  await expect(ensure(model, NF4)).rejects.toMatchObject({ reason: 'NOT_FOUND', field: 'name' });
  // The service continues with other models.
  const other = await imported('other');
  await ensure(other, NF4);
  expect((await ended(other, NF4)).state).toBe(READY);
});

test.each<[string, string, string, BaseQuantization, string]>([
  ['NOT_FOUND', 'name', 'none', NF4, 'there is no'],
  ['INVALID_ARGUMENT', 'type', 'typed', BaseQuantization.NONE, 'BASE_QUANTIZATION_INT8, BASE_QUANTIZATION_NF4'],
  ['INVALID_ARGUMENT', 'type', 'typed', BaseQuantization.UNSPECIFIED, 'must be one of'],
  ['INVALID_ARGUMENT', 'name', 'a/b', NF4, 'projects/{project}/models/{model}'],
])('%s: %s', async (reason, field, id, type, text) => {
  const refused = ensure({ name: `${parent}/models/${id}` }, type);
  await expect(refused).rejects.toMatchObject({ reason, field, message: expect.stringContaining(text) as string });
});
