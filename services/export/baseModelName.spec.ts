import { expect, test } from 'vitest';
import { baseModelNameOf } from './baseModelName.ts';

const commit = '0123456789abcdef0123456789abcdef01234567';
const folder = (value: string) => ({ repoId: '', commit: '', source: { source: { $case: 'uri' as const, value } } });

test('a model from the hub has its repository and commit', () => {
  expect(baseModelNameOf({ repoId: 'org/tiny', commit, source: undefined })).toEqual({
    name: 'org/tiny',
    revision: commit,
  });
});

test.each([
  ['/models/SmolLM2-135M-Instruct', 'SmolLM2-135M-Instruct', undefined],
  ['/models/SmolLM2-135M-Instruct/', 'SmolLM2-135M-Instruct', undefined],
  ['file:///models/my%20model', 'my model', undefined],
  [`/cache/hub/models--org--tiny/snapshots/${commit}`, 'org/tiny', commit],
  [`FILE:///cache/hub/models--gpt2/snapshots/${commit}/`, 'gpt2', commit],
])('the folder %s is named %s', (uri, name, revision) => {
  expect(baseModelNameOf(folder(uri))).toEqual({ name, revision });
});
