import { expect, test } from 'vitest';
import { newId, parseName } from './names.ts';
import { readPage } from './paging.ts';

test('names are split according to their pattern', () => {
  const pattern = 'projects/{project}/datasets/{dataset}/versions/{number}';
  expect(parseName(pattern, 'projects/default/datasets/concise/versions/3', 'name')).toEqual({
    project: 'default',
    dataset: 'concise',
    number: '3',
  });
});

test.each([
  '',
  'projects/default',
  'projects//runs/x',
  'projects/p/runs/../x',
  'projects/p/runs/X',
  'projects/p/run/x',
])('the name %j is refused', (name) => {
  expect(() => parseName('projects/{project}/runs/{run}', name, 'name')).toThrow(
    `name is '${name}'; it must be projects/{project}/runs/{run}`,
  );
});

test('ids are DNS labels, or generated', () => {
  expect(newId('my-run', 'run', 'run_id')).toBe('my-run');
  expect(newId('', 'run', 'run_id')).toMatch(/^run-[0-9a-f]{8}$/);
  for (const id of ['My-Run', '-x', 'x-', '../x', 'x'.repeat(51)]) {
    expect(() => newId(id, 'run', 'run_id')).toThrow('run_id');
  }
});

test('pages follow one another without gaps', async () => {
  const all = Array.from({ length: 120 }, (_, index) => index);
  const read = (limit: number, offset: number) => Promise.resolve(all.slice(offset, offset + limit));
  const seen: number[] = [];
  let pageToken = '';
  do {
    const page = await readPage({ pageSize: 0, pageToken }, read);
    seen.push(...page.items);
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  expect(seen).toEqual(all);
  await expect(readPage({ pageSize: -1, pageToken: '' }, read)).rejects.toThrow('page_size');
  await expect(readPage({ pageSize: 1, pageToken: 'x' }, read)).rejects.toThrow('page_token');
});
