import { createHash } from 'node:crypto';
import { PairwiseError } from '@pairwise/errors';
import { refuseField } from './field.ts';

/** A list whose order does not change: an item that is added comes before all others, or after them. */
export interface PageSource<T> {
  /** The name of the list among those of the same parent. */
  name: string;
  /** Reads up to `limit` items that follow the one with the key `after`, or the first ones if `after` is empty. */
  read(limit: number, after: string): Promise<T[]>;
  /** What identifies an item within the list; `read` must find its place even if the item has been deleted. */
  keyOf(item: T): string;
  /** Encodes an item as it is sent. */
  encode(item: T): { finish(): Uint8Array };
}

/** A list of resources, each of which is found again by its name. */
export function byName<R extends { name: string }>(
  name: string,
  { encode }: Pick<PageSource<R>, 'encode'>,
  read: PageSource<R>['read'],
): PageSource<R> {
  return { name, read, keyOf: (resource) => resource.name, encode };
}

export interface Page<T> {
  items: T[];
  /** Empty on the last page. */
  nextPageToken: string;
}

/** Clients in most languages refuse messages above 4 MiB; this leaves room for the rest of one. */
const pageBytes = 4 * 1024 * 1024 - 64 * 1024;

/**
 * Reads a page (AIP-158). A `page_size` of 0 means 50, and more than 1000 means 1000. Pages end before 4 MiB. The token names
 * the last item of the page before, so that items which are added or deleted meanwhile neither hide others nor repeat them.
 * Throws INVALID_ARGUMENT for a negative size, or a token that no earlier page of the same list has returned.
 */
export async function readPage<T>(
  request: { parent: string; pageSize: number; pageToken: string },
  source: PageSource<T>,
): Promise<Page<T>> {
  const { parent, pageSize, pageToken } = request;
  if (pageSize < 0) refuseField('page_size', `is ${pageSize}; it must not be negative`);
  const list = `${parent} ${source.name}`;
  const after = pageToken === '' ? '' : keyIn(pageToken, list);
  const size = pageSize === 0 ? 50 : Math.min(pageSize, 1000);
  const found = await source.read(size + 1, after);
  const items = found.slice(0, Math.min(size, countWithin(pageBytes, found, source)));
  const last = items.at(-1);
  const isLast = last === undefined || items.length === found.length;
  return { items, nextPageToken: isLast ? '' : tokenOf(source.keyOf(last), list) };
}

/** How many items fit into a message of `bytes`, but at least one. */
function countWithin<T>(bytes: number, items: readonly T[], { encode }: PageSource<T>): number {
  let left = bytes;
  for (const [index, item] of items.entries()) {
    // Each item has a tag and a length of up to five bytes.
    left -= encode(item).finish().length + 6;
    if (left < 0 && index > 0) return index;
  }
  return items.length;
}

const checkLength = 12;

/** Differs for keys of other lists, and for tokens that somebody has altered. */
const checkOf = (key: string, list: string) =>
  createHash('sha256').update(`${list}\n${key}`).digest('base64url').slice(0, checkLength);

const tokenOf = (key: string, list: string) => checkOf(key, list) + Buffer.from(key).toString('base64url');

function keyIn(token: string, list: string): string {
  const key = Buffer.from(token.slice(checkLength), 'base64url').toString();
  if (tokenOf(key, list) === token) return key;
  const remedy = 'use the next_page_token of the previous page, or leave it empty to start at the beginning';
  throw new PairwiseError('INVALID_ARGUMENT', `page_token is invalid; ${remedy}`, { field: 'page_token' });
}
