import { expect, test } from 'vitest';
import { readEnvironment } from './index.ts';
import { placesOf } from './places.ts';

test('a database URL names its TLS files, and a folder of blobs must be writable', () => {
  const url = 'postgres://u:p%40ss@db/pairwise?sslmode=verify-full&sslrootcert=/tls/ca.crt&sslkey=/tls/a%20b';
  expect(placesOf({ DATABASE_URL: url })).toEqual([
    { label: 'sslrootcert of DATABASE_URL', path: '/tls/ca.crt', use: 'read' },
    { label: 'sslkey of DATABASE_URL', path: '/tls/a b', use: 'read' },
  ]);
  expect(placesOf({ PAIRWISE_BLOB_URL: 'file:///srv/b%20c' })).toMatchObject([{ path: '/srv/b c', use: 'write' }]);
  expect(placesOf({ PAIRWISE_BLOB_URL: 's3://bucket/prefix' })).toEqual([]);
});

test('unusable paths are reported with the other problems', () => {
  const environment = { PAIRWISE_DATA: '/data', PAIRWISE_TOKEN_FILE: '/token', PAIRWISE_THREADS: 'many' };
  const read = () =>
    readEnvironment(environment, ['PAIRWISE_DATA', 'PAIRWISE_TOKEN_FILE', 'PAIRWISE_THREADS'], ({ path, use }) =>
      path === '/token' ? `cannot be ${use}` : undefined,
    );
  expect(read).toThrow(
    'the environment is unusable:\n  PAIRWISE_THREADS must be a number\n  PAIRWISE_TOKEN_FILE cannot be read',
  );
});

test.each([
  ['postgres://u:50%off@db/pairwise', '%25'],
  ['postgres://u:a/b@db/pairwise', '%2F'],
  ['postgres://u:p@db', 'does not name a database'],
])('a database URL that drivers misread is refused without repeating its password: %s', (url, remedy) => {
  let message = '';
  try {
    readEnvironment({ DATABASE_URL: url }, ['DATABASE_URL']);
  } catch (error) {
    message = (error as Error).message;
  }
  expect(message).toContain(remedy);
  expect(message).not.toMatch(/50%off|a\/b|:p@/);
});
