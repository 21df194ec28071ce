import { expect, test } from 'vitest';
import { type PageSource, readPage } from './paging.ts';

const parent = 'projects/p';

/** A list of numbers, newest first, each of which takes some bytes. */
function listOf(all: number[], sizeBytes = 10): PageSource<number> {
  return {
    name: 'numbers',
    read: (limit, after) => {
      const follow = after === '' ? all : all.filter((number) => number < Number(after));
      return Promise.resolve(follow.slice(0, limit));
    },
    keyOf: String,
    encode: () => ({ finish: () => new Uint8Array(sizeBytes) }),
  };
}

/** Reads all pages. `between` is called before each but the first. */
async function readAll(source: PageSource<number>, pageSize: number, between: () => void = () => undefined) {
  const pages: number[][] = [];
  let pageToken = '';
  for (;;) {
    const page = await readPage({ parent, pageSize, pageToken }, source);
    pages.push(page.items);
    pageToken = page.nextPageToken;
    if (pageToken === '') return pages;
    between();
  }
}

const numbers = (count: number) => Array.from({ length: count }, (_, index) => count - index);

test('pages follow one another without gaps', async () => {
  const pages = await readAll(listOf(numbers(120)), 0);
  expect(pages.map(({ length }) => length)).toEqual([50, 50, 20]);
  expect(pages.flat()).toEqual(numbers(120));
  expect(await readAll(listOf([]), 0)).toEqual([[]]);
  expect(await readAll(listOf(numbers(4)), 2)).toEqual([
    [4, 3],
    [2, 1],
  ]);
});

test('items that are added and deleted between pages repeat and hide no others', async () => {
  const all = numbers(100);
  const seen = await readAll(listOf(all), 10, () => {
    all.unshift(all[0]! + 1);
    // The last item of the page before, and one that is still to come.
    const last = all.findIndex((number) => number % 10 === 1 && number <= 91);
    all.splice(last, 1);
  });
  const flat = seen.flat();
  expect(new Set(flat).size).toBe(flat.length);
  expect(numbers(100).filter((number) => !flat.includes(number) && all.includes(number))).toEqual([]);
});

test('a page ends before 4 MiB, but has at least one item', async () => {
  const mebibyte = 1024 * 1024;
  expect((await readAll(listOf(numbers(7), mebibyte), 0)).map(({ length }) => length)).toEqual([3, 3, 1]);
  expect((await readAll(listOf(numbers(2), 5 * mebibyte), 0)).map(({ length }) => length)).toEqual([1, 1]);
});

test('a token is good for its own list only, and cannot be altered', async () => {
  const source = listOf(numbers(5));
  const { nextPageToken } = await readPage({ parent, pageSize: 1, pageToken: '' }, source);
  const refused = { reason: 'INVALID_ARGUMENT', field: 'page_token' };
  const read = (pageToken: string, of = parent, from = source) =>
    readPage({ parent: of, pageSize: 1, pageToken }, from);
  expect((await read(nextPageToken)).items).toEqual([4]);
  await expect(read(nextPageToken, 'projects/q')).rejects.toMatchObject(refused);
  await expect(read(nextPageToken, parent, { ...source, name: 'others' })).rejects.toMatchObject(refused);
  for (const token of ['x', '1', `${nextPageToken}x`, nextPageToken.slice(1), `A${nextPageToken.slice(1)}`]) {
    await expect(read(token)).rejects.toMatchObject(refused);
  }
  await expect(readPage({ parent, pageSize: -1, pageToken: '' }, source)).rejects.toMatchObject({ field: 'page_size' });
});
