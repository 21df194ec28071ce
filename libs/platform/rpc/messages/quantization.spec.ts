import { BaseQuantization, Model, QuantizationState } from '@pairwise/api';
import { expect, test } from 'vitest';
import { quantizedFile, resolveBaseQuantization } from './quantization.ts';

const { UNSPECIFIED, NONE, INT8, NF4 } = BaseQuantization;

test('a base model is not quantised unless the caller says so', () => {
  expect([undefined, UNSPECIFIED, NONE, INT8, NF4].map(resolveBaseQuantization)).toEqual([NONE, NONE, NONE, INT8, NF4]);
});

test('the file of a quantisation exists once it is ready', () => {
  const quantizations = [
    { type: INT8, state: QuantizationState.READY, digest: 'sha256:1', sizeBytes: 5n },
    { type: NF4, state: QuantizationState.RUNNING },
  ];
  const model = Model.fromPartial({ name: 'projects/p/models/m', quantizations });
  for (const type of [UNSPECIFIED, NONE]) expect(quantizedFile(model, type, 'x')).toBeUndefined();
  expect(quantizedFile(model, INT8, 'x')).toMatchObject({ digest: 'sha256:1', sizeBytes: 5n });
  const refusal = { reason: 'WRONG_STATE', field: 'spec.base_quantization' };
  const message = expect.stringContaining("'projects/p/models/m' has no BASE_QUANTIZATION_NF4 that is ready") as string;
  const refused = expect.objectContaining({ ...refusal, message }) as Error;
  expect(() => quantizedFile(model, NF4, 'spec.base_quantization')).toThrow(refused);
});
