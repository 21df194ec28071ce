import { expect, test } from 'vitest';
import { newId, parseName } from './names.ts';

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
