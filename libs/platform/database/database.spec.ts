import { setTimeout as sleep } from 'node:timers/promises';
import { PairwiseError } from '@pairwise/errors';
import { expect, test } from 'vitest';
import { migrate, openDatabase, type Migration } from './index.ts';
import { testDatabase } from './testing.ts';

const first: Migration = {
  id: '0001-things',
  sql: 'create table things (name text primary key, size bigint not null)',
};
const second: Migration = {
  id: '0002-colour',
  sql: 'alter table things add colour text; create index on things (colour)',
};

async function open(schema = 'dataset') {
  const { url, server } = await testDatabase();
  return { database: openDatabase({ url, schema }), url, server };
}

test('migrations are applied once, in order, by any number of processes at once', async () => {
  const { database, url } = await open();
  const others = [1, 2, 3].map(() => openDatabase({ url, schema: 'dataset' }));
  await Promise.all([database, ...others].map((each) => migrate(each, [first])));
  await migrate(database, [first, second]);
  await database.run("insert into things values ('a', 9007199254740993, 'red')");
  expect(await database.row('select * from dataset.things')).toEqual({
    name: 'a',
    size: 9007199254740993n,
    colour: 'red',
  });
  await Promise.all([database, ...others].map((each) => each.close()));
});

test('a process of the previous version keeps working, and can restart, after another one has migrated', async () => {
  const { database: old, url } = await open();
  await migrate(old, [first]);
  const next = openDatabase({ url, schema: 'dataset' });
  await migrate(next, [first, second]);
  await migrate(old, [first]);
  await old.run("insert into things values ('a', 1)");
  await next.run("insert into things values ('b', 2, 'red')");
  expect(await old.rows('select name, size from things order by name')).toEqual([
    { name: 'a', size: 1n },
    { name: 'b', size: 2n },
  ]);
  expect(await next.rows('select id from migrations order by position')).toEqual([{ id: first.id }, { id: second.id }]);
  await Promise.all([old.close(), next.close()]);
});

test('a changed, replaced or failing migration is refused and leaves nothing behind', async () => {
  const { database } = await open();
  await migrate(database, [first]);
  await expect(migrate(database, [{ ...first, sql: `${first.sql} ` }])).rejects.toThrow(/0001-things.*changed/);
  await expect(migrate(database, [{ ...first, id: '0001-others' }, second])).rejects.toMatchObject({
    reason: 'WRONG_STATE',
    message: expect.stringMatching(/has migration 0001-things where this version has 0001-others/) as string,
  });
  const broken = { id: '0003-broken', sql: 'create table more (); select nonsense' };
  await expect(migrate(database, [first, second, broken])).rejects.toThrow(/nonsense/);
  await expect(database.run('select colour from things')).rejects.toThrow(/colour/);
  await database.close();
});

test('a transaction is applied completely or not at all', async () => {
  const { database } = await open();
  await migrate(database, [first]);
  const insert = (name: string) => "insert into things values ('" + name + "', 1)";
  await expect(
    database.transaction(async (tx) => {
      await tx.run(insert('a'));
      throw new PairwiseError('INVALID_ARGUMENT', 'no');
    }),
  ).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
  expect(await database.rows('select * from things')).toEqual([]);
  await database.run(insert('a'));
  await expect(database.run(insert('a'))).rejects.toMatchObject({ code: '23505' });
  await database.close();
});

test('transactions that Postgres aborts because of a deadlock are retried', async () => {
  const { database } = await open();
  await migrate(database, [first]);
  await database.run("insert into things values ('a', 0), ('b', 0)");
  const add = (one: string, other: string) =>
    database.transaction(async (tx) => {
      await tx.run('update things set size = size + 1 where name = $1', [one]);
      await sleep(100);
      await tx.run('update things set size = size + 1 where name = $1', [other]);
    });
  await Promise.all([add('a', 'b'), add('b', 'a')]);
  expect(await database.rows('select name, size from things order by name')).toEqual([
    { name: 'a', size: 2n },
    { name: 'b', size: 2n },
  ]);
  await database.close();
});

test('a schema name that is not a plain word is refused', () => {
  expect(() => openDatabase({ url: 'postgres://127.0.0.1/x', schema: 'a; drop' })).toThrow(/schema/);
});

test('a killed server is waited for: reads and transactions continue, a lost write is reported', async () => {
  const { database, server } = await open();
  await migrate(database, [first]);
  await database.run("insert into things values ('a', 1)");

  const write = database.run("insert into things select 'b', 1 from pg_sleep(30)");
  const read = database.rows<{ name: string }>('select name from things, (select pg_sleep(0.5)) as wait');
  let tries = 0;
  const both = database.transaction(async (tx) => {
    tries += 1;
    await tx.run("insert into things values ('c', 1)");
    await tx.run('select pg_sleep(0.5)');
    await tx.run("insert into things values ('d', 1)");
  });
  const lost = expect(write).rejects.toMatchObject({ reason: 'UNAVAILABLE' });
  while (tries === 0) await sleep(10);
  const before = server.pid()!;
  process.kill(before, 'SIGKILL');

  await lost;
  expect((await read).map(({ name }) => name)).toContain('a');
  await both;
  expect(tries).toBeGreaterThan(1);
  expect(await database.rows('select name from things order by name')).toEqual([
    { name: 'a' },
    { name: 'c' },
    { name: 'd' },
  ]);
  expect(server.pid()).not.toBe(before);
  await database.close();
});
