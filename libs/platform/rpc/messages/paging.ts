import { PairwiseError } from '@pairwise/errors';

/** One page of a list, selected by offset. */
export interface Page<T> {
  items: T[];
  /** Empty on the last page. */
  nextPageToken: string;
}

/**
 * Reads a page (AIP-158). A `page_size` of 0 means 50, and more than 1000 means 1000. The token is the position of the
 * page. `read` is called with a limit and an offset. Throws INVALID_ARGUMENT for a negative size or an invalid token.
 */
export async function readPage<T>(
  request: { pageSize: number; pageToken: string },
  read: (limit: number, offset: number) => Promise<T[]>,
): Promise<Page<T>> {
  const { pageSize, pageToken } = request;
  if (pageSize < 0) {
    throw new PairwiseError('INVALID_ARGUMENT', `page_size is ${pageSize}; it must not be negative`, {
      field: 'page_size',
    });
  }
  if (!/^\d{0,9}$/.test(pageToken)) {
    const message =
      'page_token is invalid; use the next_page_token of the previous page, or leave it empty to start at the beginning';
    throw new PairwiseError('INVALID_ARGUMENT', message, { field: 'page_token' });
  }
  const size = pageSize === 0 ? 50 : Math.min(pageSize, 1000);
  const offset = Number(pageToken);
  const found = await read(size + 1, offset);
  return { items: found.slice(0, size), nextPageToken: found.length > size ? String(offset + size) : '' };
}
