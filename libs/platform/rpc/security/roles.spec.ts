import * as api from '@pairwise/api';
import { expect, test } from 'vitest';
import type { Definition } from '../methods.ts';
import { projectOfRequest } from './projects.ts';
import { needs } from './roles.ts';

const definitions = Object.entries(api).flatMap(([name, value]) =>
  /Service$/.test(name) ? [value as unknown as Definition] : [],
);
const methods = definitions
  .flatMap((definition) => Object.values(definition))
  .filter(({ path }) => path.startsWith('/pairwise.'));

test('the table has every method of the API, and no other', () => {
  expect(methods.length).toBeGreaterThan(40);
  expect([...needs.keys()].sort()).toEqual(methods.map(({ path }) => path).sort());
});

test('reading needs a reader, deleting an admin, and everything else a submitter', () => {
  for (const [path, need] of needs) {
    const verb = /\/([A-Z][a-z]+)[^/]*$/.exec(path)![1]!;
    // EstimateRun also encodes the pairs, as a run would.
    const reads =
      ['Get', 'List', 'Watch', 'Read', 'Download', 'Inspect', 'Estimate'].includes(verb) &&
      !path.endsWith('/EstimateRun');
    const expected = reads ? 'reader' : verb === 'Delete' ? 'admin' : 'submitter';
    expect(`${path} ${need}`).toBe(`${path} ${/\/(GetServerInfo|Diagnose)$/.test(path) ? 'anyone' : expected}`);
  }
});

test('the project of every request is found', () => {
  const name = 'projects/one/things/two';
  for (const { path, requestDeserialize } of methods) {
    const empty = requestDeserialize(Buffer.alloc(0)) as Record<string, unknown>;
    expect(projectOfRequest(empty)).toBeUndefined();
    if (needs.get(path) === 'anyone') continue;
    const field = ['name', 'parent'].find((key) => key in empty);
    const request = field === undefined ? { payload: { $case: 'header', value: { parent: name } } } : { [field]: name };
    expect(`${path} ${projectOfRequest({ ...empty, ...request })}`).toBe(`${path} projects/one`);
    if (field === undefined) expect(path).toBe('/pairwise.v1.DatasetService/ImportPairs');
  }
});

test('a project is recognised only at the beginning of a name', () => {
  for (const name of ['', 'projects/', 'projects/-', 'projects/-/runs/a', 'projects/A/runs/a', '/projects/a', 'x'])
    expect(projectOfRequest({ name })).toBeUndefined();
  expect(projectOfRequest({ parent: 'projects/a-1' })).toBe('projects/a-1');
});
