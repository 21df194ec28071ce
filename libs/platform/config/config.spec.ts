import { expect, test } from 'vitest';
import { readEnvironment } from './index.ts';

test('defaults and values are parsed', () => {
  const environment = { PAIRWISE_LISTEN: '[::1]:7411', PAIRWISE_INSECURE: 'true', PAIRWISE_THREADS: '' };
  expect(
    readEnvironment(environment, ['PAIRWISE_LISTEN', 'PAIRWISE_INSECURE', 'PAIRWISE_THREADS', 'PAIRWISE_MODEL_ROOTS']),
  ).toEqual({
    PAIRWISE_LISTEN: '[::1]:7411',
    PAIRWISE_INSECURE: true,
    PAIRWISE_THREADS: 2,
    PAIRWISE_MODEL_ROOTS: [],
  });
});

test.each([
  ['file:///var/blobs', true],
  ['s3://my-bucket', true],
  ['s3://my-bucket/pairwise/blobs', true],
  ['/var/blobs', false],
  ['file://var/blobs', false],
  ['s3://', false],
  ['s3://My_Bucket/x', false],
  ['s3://key:secret@bucket/x', false],
  ['s3://bucket/x?y', false],
  ['gs://bucket/x', false],
])('PAIRWISE_BLOB_URL %s', (url, good) => {
  const read = () => readEnvironment({ PAIRWISE_BLOB_URL: url }, ['PAIRWISE_BLOB_URL']);
  if (good) expect(read()).toEqual({ PAIRWISE_BLOB_URL: url });
  else expect(read).toThrow('PAIRWISE_BLOB_URL must be file:///folder or s3://bucket/prefix');
});

test.each(['file:///50%off', 'file:///%ff', 'file:///a%2Fb'])('PAIRWISE_BLOB_URL %s is not a path', (url) => {
  const read = () => readEnvironment({ PAIRWISE_BLOB_URL: url }, ['PAIRWISE_BLOB_URL']);
  expect(read).toThrow(/PAIRWISE_BLOB_URL has a % .* write %25/);
});

test('all problems are reported at once, without the values', () => {
  const environment = { DATABASE_URL: 'mysql://user:secret@host', PAIRWISE_THREADS: '0', PAIRWISE_LISTEN: 'here' };
  let message = '';
  try {
    readEnvironment(environment, ['DATABASE_URL', 'PAIRWISE_THREADS', 'PAIRWISE_LISTEN', 'PAIRWISE_DATA']);
  } catch (error) {
    message = (error as Error).message;
  }
  expect(message).toContain('DATABASE_URL must be a postgres:// URL');
  expect(message).toContain('PAIRWISE_THREADS');
  expect(message).toContain('PAIRWISE_LISTEN must be host:port');
  expect(message).toContain('PAIRWISE_DATA is not set');
  expect(message).not.toContain('secret');
});
