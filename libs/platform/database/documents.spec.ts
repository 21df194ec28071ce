import { expect, test } from 'vitest';
import { documentTable, migrate, openDatabase, openDocuments } from './index.ts';
import { testDatabase } from './testing.ts';

interface Note {
  text: string;
  count: number;
}
const codec = {
  toJSON: (note: Note) => ({ text: note.text, count: note.count }),
  fromJSON: (json: Note) => ({ ...json }),
};

async function notes() {
  const database = openDatabase({ url: (await testDatabase()).url, schema: 'notes' });
  await migrate(database, [{ id: '0001-notes', sql: documentTable('notes') }]);
  return { database, notes: openDocuments(database, 'notes', 'note', codec) };
}

test('documents are created once, changed with a new etag, listed newest first, and leave a tombstone', async () => {
  const { database, notes: documents } = await notes();
  expect(await documents.create('a', 'p', { text: 'x', count: 0 })).toBe(true);
  expect(await documents.create('b', 'p', { text: 'y', count: 0 })).toBe(true);
  expect(await documents.create('a', 'p', { text: 'z', count: 0 })).toBe(false);
  expect(await documents.get('a')).toEqual({ text: 'x', count: 0, etag: '1' });

  const changed = await documents.change('a', (note) => {
    note.count = 5;
    return 'changed';
  });
  expect(changed).toEqual({ text: 'x', count: 5, etag: '2' });
  expect(await documents.change('a', () => 'unchanged')).toEqual(changed);
  expect((await documents.list('p', 10, '')).map(({ text }) => text)).toEqual(['y', 'x']);
  expect((await documents.list('p', 10, 'b')).map(({ text }) => text)).toEqual(['x']);
  expect(await documents.list('p', 10, 'a')).toEqual([]);

  await expect(documents.remove('a', '1')).rejects.toMatchObject({ reason: 'ETAG_MISMATCH', field: 'etag' });
  await documents.remove('a', '2');
  await expect(documents.get('a')).rejects.toMatchObject({
    reason: 'NOT_FOUND',
    message: "name: there is no note 'a'",
  });
  expect(await documents.create('a', 'p', { text: 'again', count: 0 })).toBe(false);
  await database.close();
});

test('a list continues after a document that was deleted, and among some of the same time', async () => {
  const { database, notes: documents } = await notes();
  for (const name of ['a', 'b', 'c', 'd', 'e']) await documents.create(name, 'p', { text: name, count: 0 });
  await database.run(
    `update notes set create_time = (select create_time from notes where name = 'c') where name in ('b', 'd')`,
  );
  const after = async (name: string) => (await documents.list('p', 10, name)).map(({ text }) => text);
  expect(await after('')).toEqual(['e', 'b', 'c', 'd', 'a']);
  await documents.remove('c', '');
  await documents.create('f', 'p', { text: 'f', count: 0 });
  expect(await after('c')).toEqual(['d', 'a']);
  expect(await after('e')).toEqual(['b', 'd', 'a']);
  await database.close();
});

test('concurrent changes are all applied', async () => {
  const { database, notes: documents } = await notes();
  await documents.create('a', 'p', { text: 'x', count: 0 });
  const increment = () =>
    documents.change('a', (note) => {
      note.count += 1;
      return 'changed';
    });
  await Promise.all(Array.from({ length: 20 }, increment));
  expect(await documents.get('a')).toEqual({ text: 'x', count: 20, etag: '21' });
  await database.close();
});

test('changes within a transaction are applied with it or not at all', async () => {
  const { database, notes: documents } = await notes();
  await documents.create('a', 'p', { text: 'x', count: 0 });
  const both = (fail: boolean) =>
    database.transaction(async (tx) => {
      const increment = (note: Note) => {
        note.count += 1;
        return 'changed' as const;
      };
      await documents.change('a', increment, tx);
      await documents.create('b', 'p', { text: 'y', count: 0 }, tx);
      await documents.remove('b', '1', undefined, tx);
      if (fail) throw new Error('no');
    });
  await expect(both(true)).rejects.toThrow('no');
  expect(await documents.get('a')).toMatchObject({ count: 0, etag: '1' });
  await both(false);
  expect(await documents.get('a')).toMatchObject({ count: 1, etag: '2' });
  expect(await documents.find('b')).toBeUndefined();
  await database.close();
});
