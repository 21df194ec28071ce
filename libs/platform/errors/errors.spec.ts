import { expect, test } from 'vitest';
import { PairwiseError, asDiskFull, reasons } from './index.ts';

test('an error carries its reason, field and cause', () => {
  const cause = new Error('disk');
  const error = new PairwiseError('INVALID_ARGUMENT', 'beta must be above 0', { field: 'spec.training.beta', cause });
  expect(error).toMatchObject({ reason: 'INVALID_ARGUMENT', field: 'spec.training.beta', cause, metadata: {} });
});

test('reasons are unique', () => {
  expect(new Set(reasons).size).toBe(reasons.length);
});

test.each(['ENOSPC', 'EDQUOT'])('%s from the file system is DISK_FULL', (code) => {
  const cause = Object.assign(new Error(code), { code });
  expect(asDiskFull(cause, 'free some space')).toMatchObject({
    reason: 'DISK_FULL',
    message: 'free some space',
    cause,
  });
  const other = Object.assign(new Error(''), { code: 'EACCES' });
  expect(asDiskFull(other, '')).toBe(other);
});
