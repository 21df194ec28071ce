import { expect, test } from 'vitest';
import { PairwiseError, asDiskFull, asPairwiseError, isConflict, isConnectionLoss, reasons } from './index.ts';

test('an error carries its reason, field and cause', () => {
  const cause = new Error('disk');
  const error = new PairwiseError('INVALID_ARGUMENT', 'beta must be above 0', { field: 'spec.training.beta', cause });
  expect(error).toMatchObject({ reason: 'INVALID_ARGUMENT', field: 'spec.training.beta', cause, metadata: {} });
});

test('reasons are unique', () => {
  expect(new Set(reasons).size).toBe(reasons.length);
});

test('errors of Postgres: lost connections pass, conflicts are tried again, a full disk is named, the rest stays', () => {
  const coded = (code: string) => Object.assign(new Error('from pg'), { code });
  const passing = [
    ...['ECONNREFUSED', 'ENOTFOUND', '57P01', '53300', '08006'].map(coded),
    new Error('Connection terminated unexpectedly'),
    new Error('Client has encountered a connection error and is not queryable'),
  ];
  for (const error of passing) {
    expect(isConnectionLoss(error), String(error)).toBe(true);
    expect(asPairwiseError(error)).toMatchObject({ reason: 'UNAVAILABLE', cause: error });
  }
  const duplicate = coded('23505');
  for (const error of [duplicate, coded('40001'), new Error('of our own'), 'no error']) {
    expect(isConnectionLoss(error)).toBe(false);
    expect(asPairwiseError(error)).toBe(error);
  }
  expect([coded('40001'), coded('40P01'), duplicate].map(isConflict)).toEqual([true, true, false]);
  for (const code of ['28P01', '3D000', '42501', 'ERR_TLS_CERT_ALTNAME_INVALID', 'SELF_SIGNED_CERT_IN_CHAIN']) {
    expect(asPairwiseError(coded(code))).toMatchObject({ reason: 'WRONG_STATE' });
  }
  expect(asPairwiseError(coded('53100'))).toMatchObject({ reason: 'DISK_FULL' });
});

test.each(['ENOSPC', 'EDQUOT'])('%s of the file system is DISK_FULL', (code) => {
  const cause = Object.assign(new Error(code), { code });
  expect(asDiskFull(cause, 'free some space')).toMatchObject({
    reason: 'DISK_FULL',
    message: 'free some space',
    cause,
  });
  const other = Object.assign(new Error(''), { code: 'EACCES' });
  expect(asDiskFull(other, '')).toBe(other);
});
