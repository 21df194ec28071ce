import { digestOf } from '@pairwise/fingerprint';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { callOf, migrate, openDatabase, requestAgeIndex, requestTable, runOnce, type Database } from './index.ts';
import { testDatabase } from './testing.ts';

let database: Database;
beforeAll(async () => {
  database = openDatabase({ url: (await testDatabase()).url, schema: 'things' });
  await migrate(database, [
    { id: '0001', sql: `${requestTable} create table things (id serial)` },
    { id: '0002', sql: requestAgeIndex },
  ]);
});
afterAll(() => database.close());

const request = digestOf(Buffer.from('request'));
const create = (requestId: string, changes: { request?: typeof request; project?: string } = {}) =>
  runOnce(database, { method: 'CreateThing', project: 'a', requestId, request, ...changes }, async (tx) => {
    const row = await tx.row<{ id: number }>('insert into things default values returning id');
    return `things/${row?.id}`;
  });

test('a request is executed once, even if it arrives a hundred times at once', async () => {
  const names = await Promise.all(Array.from({ length: 100 }, () => create('one')));
  expect(new Set(names).size).toBe(1);
  expect(await create('two')).not.toBe(names[0]);
  const other = create('one', { request: digestOf(Buffer.from('another')) });
  await expect(other).rejects.toMatchObject({ reason: 'REQUEST_ID_REUSED' });

  const call = { method: 'CreateThing', project: 'a', requestId: 'three', request };
  await expect(runOnce(database, call, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
  expect(await create('three')).toMatch(/^things/);
});

test('projects do not share request ids, and neither do methods', async () => {
  const name = await create('shared');
  expect(await create('shared', { project: 'b' })).not.toBe(name);
  const codec = { toJSON: (sent: object) => sent };
  const callFor = (sent: { name: string } | { parent: string }) =>
    callOf('CreateThing', codec, { ...sent, requestId: 'shared' });
  expect(callFor({ name: 'projects/b/things/x' })).toMatchObject({ project: 'b', requestId: 'shared' });
  expect(callFor({ parent: 'projects/c' })).toMatchObject({ project: 'c' });
  const other = { ...callFor({ parent: 'projects/a' }), method: 'DeleteThing' };
  expect(await runOnce(database, other, () => Promise.resolve('done'))).toBe('done');
});

test('requests are recognised for 30 days, and forgotten after them', async () => {
  const [young, old] = [await create('young'), await create('old')];
  const age = (id: string, days: number) =>
    database.run(`update requests set create_time = now() - $2 * interval '1 day' where request_id = $1`, [
      `a/${id}`,
      days,
    ]);
  await age('young', 29.9);
  await age('old', 30.1);
  await create('later');
  expect(await create('young')).toBe(young);
  expect(await create('old')).not.toBe(old);
});
