/** Reads pages of a list until there are `limit` items or no more. */
export async function readAll<Item>(
  limit: number,
  read: (page: { pageSize: number; pageToken: string }) => Promise<{ items: Item[]; nextPageToken: string }>,
): Promise<Item[]> {
  const all: Item[] = [];
  let pageToken = '';
  do {
    const page = await read({ pageSize: Math.min(limit - all.length, 1000), pageToken });
    all.push(...page.items);
    pageToken = page.nextPageToken;
  } while (pageToken !== '' && all.length < limit);
  return all;
}
