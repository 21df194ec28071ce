import type { Database, Queries } from '@pairwise/database';
import { PairwiseError } from '@pairwise/errors';
import { digestFromBytes, hexOf, type Digest } from '@pairwise/fingerprint';
import type { BlobStore } from '@pairwise/store';
import { packShard, unpackShard, type ResponseLogps } from './shard.ts';

/**
 * The store of per-token reference logps. The values are in immutable shard blobs. An index in Postgres maps a reference
 * fingerprint and a response digest to a place in a shard; its entries never change.
 */
export interface Logps {
  /** Which of the responses are in the store. */
  present(fingerprint: Digest, responses: readonly Digest[]): Promise<Set<Digest>>;
  /** Stores the values in a shard blob and returns its digest. They are in the store once `index` is committed. */
  put(entries: readonly ResponseLogps[]): Promise<Digest>;
  /**
   * Adds a shard's responses to the index, except those that it has already. Returns the token counts of those that it
   * added.
   */
  index(tx: Queries, fingerprint: Digest, shard: Digest, entries: readonly ResponseLogps[]): Promise<number[]>;
  /** The values of the responses, in their order. Throws MISSING_LOGPS if one is not in the store. */
  read(fingerprint: Digest, responses: readonly Digest[]): Promise<ResponseLogps[]>;
}

/** Where the values of a response are: `count` from `start` on, in the shard `digest`. */
interface Place {
  response: Digest;
  digest: Digest;
  start: number;
  count: number;
}

/** Responses per query of the index. */
const lookUpSize = 5_000;

/** Opens the store of logps over an index in `database` and shards in `blobs`. */
export function openLogps(database: Database, blobs: BlobStore): Logps {
  return {
    present: async (fingerprint, responses) =>
      new Set((await findPlaces(database, fingerprint, responses)).map(({ response }) => response)),
    put: async (entries) => (await blobs.put(packShard(entries))).digest,
    index: addToIndex,
    read: async (fingerprint, responses) => {
      const places = await findPlaces(database, fingerprint, responses);
      const found = new Map(places.map((place) => [place.response, place]));
      const shards = new Map<Digest, Float32Array>();
      for (const { digest } of places) {
        if (!shards.has(digest)) shards.set(digest, unpackShard(await blobs.get(digest)));
      }
      return responses.map((response) => {
        const place = found.get(response);
        const tokenLogps = place && shards.get(place.digest)?.subarray(place.start, place.start + place.count);
        if (tokenLogps !== undefined && tokenLogps.length === place?.count) return { response, tokenLogps };
        throw new PairwiseError('MISSING_LOGPS', `the store has no reference logps of the response ${response}`);
      });
    },
  };
}

async function findPlaces(database: Queries, fingerprint: Digest, responses: readonly Digest[]): Promise<Place[]> {
  const places: Place[] = [];
  for (let at = 0; at < responses.length; at += lookUpSize) {
    const rows = await database.rows<Omit<Place, 'response'> & { response: Uint8Array }>(
      `select response, digest, start, count
       from logps join shards on shards.id = shard
       where reference_model = (select id from reference_models where fingerprint = $1)
         and response = any (select decode(hex, 'hex') from unnest($2::text[]) as hex)`,
      [fingerprint, responses.slice(at, at + lookUpSize).map(hexOf)],
    );
    for (const row of rows) places.push({ ...row, response: digestFromBytes(row.response) });
  }
  return places;
}

async function addToIndex(
  tx: Queries,
  fingerprint: Digest,
  shard: Digest,
  entries: readonly ResponseLogps[],
): Promise<number[]> {
  const reference = await idOf(tx, 'reference_models', 'fingerprint', fingerprint);
  const blob = await idOf(tx, 'shards', 'digest', shard);
  let start = 0;
  const starts = entries.map(({ tokenLogps }) => (start += tokenLogps.length) - tokenLogps.length);
  const counts = entries.map(({ tokenLogps }) => tokenLogps.length);
  const added = await tx.rows<{ count: number }>(
    `insert into logps (reference_model, response, shard, start, count)
     select $1, decode(hex, 'hex'), $2, start, count
     from unnest($3::text[], $4::integer[], $5::integer[]) as entry (hex, start, count)
     on conflict do nothing returning count`,
    [reference, blob, entries.map(({ response }) => hexOf(response)), starts, counts],
  );
  return added.map(({ count }) => count);
}

/** The id of the row in which `column` is `value`, which is inserted if there is none. */
async function idOf(tx: Queries, table: string, column: string, value: string): Promise<number | bigint> {
  const row = await tx.row<{ id: number | bigint }>(
    `with added as (insert into ${table} (${column}) values ($1) on conflict do nothing returning id)
     select id from added union all select id from ${table} where ${column} = $1 limit 1`,
    [value],
  );
  return row!.id;
}
