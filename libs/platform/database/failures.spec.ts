import { expect, test } from 'vitest';
import { asPairwiseError, isConflict, isConnectionLoss } from './index.ts';

test('lost connections are UNAVAILABLE, conflicts can be retried, a full disk is DISK_FULL, other errors are unchanged', () => {
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
