import { expect, test } from 'vitest';
import { parseAccess } from './index.ts';

const sha256 = 'a'.repeat(64);
const entry = { name: 'ci', sha256, roles: { 'projects/default': 'submitter', '*': 'reader' } };

function problemsOf(value: unknown): string {
  try {
    parseAccess(typeof value === 'string' ? value : JSON.stringify(value), 'access.json');
  } catch (error) {
    expect(error).toMatchObject({ reason: 'INVALID_ARGUMENT', field: 'PAIRWISE_ACCESS_FILE' });
    return (error as Error).message;
  }
  return '';
}

test('entries are returned unchanged', () => {
  const other = { name: 'ops@example', sha256: 'b'.repeat(64), roles: { '*': 'admin' } };
  expect(parseAccess(JSON.stringify([entry, other]), 'access.json')).toEqual([entry, other]);
});

test('all problems are reported at once, with their place and without the values', () => {
  const bad = [
    entry,
    { ...entry, name: 'other', sha256: 'not-a-digest-but-the-token-itself' },
    { ...entry, name: 'a b', sha256: 'c'.repeat(64), roles: { 'projects/Default': 'reader', '*': 'owner' } },
    { ...entry, name: 'more', sha256: 'd'.repeat(64), token: 'plain' },
    { name: 'less' },
    { ...entry, name: 'none', sha256: 'e'.repeat(64), roles: {} },
  ];
  const problems = problemsOf(bad);
  for (const part of [
    '[1].sha256',
    '[2].name',
    '[2].roles.projects/Default must be projects/<id>',
    '[3]',
    '[4].sha256',
  ])
    expect(problems).toContain(part);
  expect(problems).toContain('[2].roles.* must be one of reader, submitter, admin');
  expect(problems).toContain('[5].roles must name at least one project');
  expect(problems).not.toContain('the-token-itself');
  expect(problems).not.toContain('plain');
});

test('duplicate names or tokens, an empty list and anything but a list are refused', () => {
  expect(problemsOf([entry, { ...entry, sha256: 'b'.repeat(64) }])).toContain('one name twice');
  expect(problemsOf([entry, { ...entry, name: 'other' }])).toContain('one sha256 twice');
  expect(problemsOf([])).toContain('at least one');
  expect(problemsOf({})).toContain('must be a list');
  expect(problemsOf('a-secret-token')).toBe('the access file access.json is unusable: it is not valid JSON');
});
