import { PairwiseError } from '@pairwise/errors';
import { expect, test } from 'vitest';
import { retryKilled } from './index.ts';

test('work whose process is killed is attempted three times at most; other failures are final', async () => {
  const { signal } = new AbortController();
  let tries = 0;
  const failing = (reason: 'INTERNAL' | 'INVALID_MODEL', times: number) => {
    tries = 0;
    return () => {
      tries += 1;
      return tries > times ? Promise.resolve('done') : Promise.reject(new PairwiseError(reason, 'no'));
    };
  };
  expect(await retryKilled(signal, failing('INTERNAL', 2))).toBe('done');
  await expect(retryKilled(signal, failing('INTERNAL', 3))).rejects.toMatchObject({ reason: 'INTERNAL' });
  expect(tries).toBe(3);
  await expect(retryKilled(signal, failing('INVALID_MODEL', 1))).rejects.toMatchObject({ reason: 'INVALID_MODEL' });
  await expect(retryKilled(AbortSignal.abort(), failing('INTERNAL', 1))).rejects.toMatchObject({ reason: 'INTERNAL' });
  expect(tries).toBe(1);
});
