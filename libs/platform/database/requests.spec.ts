import { digestOf } from '@pairwise/fingerprint';
import { expect, test } from 'vitest';
import { migrate, openDatabase, requestTable, runOnce } from './index.ts';
import { testDatabase } from './testing.ts';

test('a request is executed once, even if it arrives a hundred times at once', async () => {
  const database = openDatabase({ url: (await testDatabase()).url, schema: 'things' });
  await migrate(database, [{ id: '0001', sql: `${requestTable} create table things (id serial)` }]);
  const request = digestOf(Buffer.from('request'));
  const create = (requestId: string, of = request) =>
    runOnce(database, { method: 'CreateThing', requestId, request: of }, async (tx) => {
      const row = await tx.row<{ id: number }>('insert into things default values returning id');
      return `things/${row?.id}`;
    });
  const names = await Promise.all(Array.from({ length: 100 }, () => create('one')));
  expect(new Set(names).size).toBe(1);
  expect(await create('two')).not.toBe(names[0]);
  await expect(create('one', digestOf(Buffer.from('another')))).rejects.toMatchObject({ reason: 'REQUEST_ID_REUSED' });

  const failing = () =>
    runOnce(database, { method: 'CreateThing', requestId: 'three', request }, () => Promise.reject(new Error('no')));
  await expect(failing()).rejects.toThrow('no');
  expect(await create('three')).toMatch(/^things/);
  await database.close();
});
