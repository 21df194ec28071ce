import { expect, test } from 'vitest';
import { PairwiseError, reasons } from './index.ts';

test('an error carries its reason, field and cause', () => {
  const cause = new Error('disk');
  const error = new PairwiseError('INVALID_ARGUMENT', 'beta must be above 0', { field: 'spec.training.beta', cause });
  expect(error).toMatchObject({ reason: 'INVALID_ARGUMENT', field: 'spec.training.beta', cause, metadata: {} });
});

test('reasons are unique', () => {
  expect(new Set(reasons).size).toBe(reasons.length);
});
