import { expect, test } from 'vitest';
import { parseModelUri } from './index.ts';

test.each([
  ['hf://org/name', { kind: 'repository', repoId: 'org/name', revision: 'main' }],
  ['hf://org-1/Name_1.5@refs/pr/3', { kind: 'repository', repoId: 'org-1/Name_1.5', revision: 'refs/pr/3' }],
  ['HF://org/name@v1.0', { kind: 'repository', repoId: 'org/name', revision: 'v1.0' }],
  ['file:///models/a%20b', { kind: 'folder', path: '/models/a b' }],
  ['/models/../a/./b/', { kind: 'folder', path: '/a/b' }],
])('%s', (uri, location) => {
  expect(parseModelUri(uri, 'source.uri')).toEqual(location);
});

test.each([
  ['hf://name', 'does not name a repository'],
  ['hf://a/b/c', 'does not name a repository'],
  ['hf://../name', 'does not name a repository'],
  ['hf://a--b/name', 'does not name a repository'],
  ['hf://org/name@', 'does not name a revision'],
  ['hf://org/name@../../x', 'does not name a revision'],
  ['hf://org/name@a?b', 'does not name a revision'],
  ['hf://org/name@-x', 'does not name a revision'],
  ['models/a', 'not an absolute path'],
  ['', 'not an absolute path'],
  ['file://host/models', 'not of the form file:///absolute/path'],
  ['file:///a%2Fb', 'not of the form file:///absolute/path'],
  ['/models/a\0b', 'NUL'],
  ['file:///a%00b', 'NUL'],
  ['s3://bucket/a', 'scheme s3://'],
])('%j is refused', (uri, problem) => {
  expect(() => parseModelUri(uri, 'source.uri')).toThrow(problem);
});
