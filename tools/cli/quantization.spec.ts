import { BaseQuantization, Model, QuantizationState, Run } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { statusOf } from '@pairwise/rpc';
import { expect, test } from 'vitest';
import { modelQuantizations, runQuantization } from './quantization.ts';

const { UNSPECIFIED, INT8, NF4, NONE } = BaseQuantization;

test('a run shows its quantisation, if it has one', () => {
  const shown = (baseQuantization: BaseQuantization) =>
    runQuantization(Run.fromPartial({ resolvedSpec: { training: { baseQuantization } } }));
  expect([UNSPECIFIED, NONE, INT8, NF4].map(shown)).toEqual(['', '', 'INT8', 'NF4']);
  expect(runQuantization(Run.create({}))).toBe('');
});

test('a model shows the state of each quantisation', () => {
  const shown = (...quantizations: Parameters<typeof Model.fromPartial>[0]['quantizations'] & object) =>
    modelQuantizations(Model.fromPartial({ quantizations }).quantizations);
  const running = { type: INT8, state: QuantizationState.RUNNING, sizeBytes: 135_000_000n, writtenSizeBytes: 12_000n };
  const ready = { type: NF4, state: QuantizationState.READY, sizeBytes: 74_300_000n };
  expect(shown(ready, running)).toBe('NF4 ready (74.3 MB), INT8 running (12.0 kB of 135 MB)');
  const error = statusOf(new PairwiseError('UNSUPPORTED_CONFIG', 'a layer is odd'));
  expect(shown({ type: NF4, state: QuantizationState.FAILED, error })).toBe('NF4 failed (a layer is odd)');
  expect(shown()).toBe('');
});
