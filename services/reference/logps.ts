import type { Database, Queries } from '@pairwise/database';
import { PairwiseError } from '@pairwise/errors';
import type { Digest } from '@pairwise/fingerprint';
import type { BlobStore } from '@pairwise/store';
import { packShard, unpackShard, type ResponseLogps } from './shard.ts';

export type Logps = ReturnType<typeof openLogps>;

/** Digests that are looked up in one statement. */
const lookUpSize = 5_000;

/**
 * The per-token reference logps: values in immutable shard blobs, and in Postgres the index from
 * (reference fingerprint, response digest) to a place in one. An entry is never changed.
 */
export function openLogps(database: Database, blobs: BlobStore) {
  /** Places of those of the responses that are in the store. */
  async function places(fingerprint: Digest, responses: readonly Digest[], on: Queries = database): Promise<Place[]> {
    const found: Place[] = [];
    for (let at = 0; at < responses.length; at += lookUpSize) {
      const rows = await on.rows<Row>(
        `select encode(response, 'hex') as response, digest, start, count
         from logps join shards on shards.id = shard
         where reference_model = (select id from reference_models where fingerprint = $1)
           and response = any (select decode(hex, 'hex') from unnest($2::text[]) as hex)`,
        [fingerprint, responses.slice(at, at + lookUpSize).map(hexOf)],
      );
      found.push(...rows.map((row) => ({ ...row, response: `sha256:${row.response}` as const })));
    }
    return found;
  }

  return {
    /** Which of the responses are in the store. */
    async present(fingerprint: Digest, responses: readonly Digest[], on?: Queries): Promise<Set<Digest>> {
      return new Set((await places(fingerprint, responses, on)).map(({ response }) => response));
    },

    /** Stores the values' bytes; they count once `index` has been committed. */
    async put(entries: readonly ResponseLogps[]): Promise<Digest> {
      return (await blobs.put(packShard(entries))).digest;
    },

    /** Enters a shard's responses in the index; those that are there already stay. Returns token counts of the new ones. */
    async index(tx: Queries, fingerprint: Digest, shard: Digest, entries: readonly ResponseLogps[]): Promise<number[]> {
      const insert = (table: string, column: string, value: string) =>
        tx.row<{ id: number | bigint }>(
          `with added as (insert into ${table} (${column}) values ($1) on conflict do nothing returning id)
           select id from added union all select id from ${table} where ${column} = $1 limit 1`,
          [value],
        );
      const reference = await insert('reference_models', 'fingerprint', fingerprint);
      const blob = await insert('shards', 'digest', shard);
      let start = 0;
      const starts = entries.map(({ tokenLogps }) => (start += tokenLogps.length) - tokenLogps.length);
      const added = await tx.rows<{ count: number }>(
        `insert into logps (reference_model, response, shard, start, count)
         select $1, decode(hex, 'hex'), $2, start, count
         from unnest($3::text[], $4::integer[], $5::integer[]) as entry (hex, start, count)
         on conflict do nothing returning count`,
        [
          reference?.id,
          blob?.id,
          entries.map(({ response }) => hexOf(response)),
          starts,
          entries.map(({ tokenLogps }) => tokenLogps.length),
        ],
      );
      return added.map(({ count }) => count);
    },

    /** The values of the responses, in their order. Throws MISSING_LOGPS if one is not in the store. */
    async read(fingerprint: Digest, responses: readonly Digest[]): Promise<ResponseLogps[]> {
      const found = new Map((await places(fingerprint, responses)).map((place) => [place.response, place]));
      const shards = new Map<string, Float32Array>();
      for (const { digest } of found.values()) {
        if (!shards.has(digest)) shards.set(digest, unpackShard(await blobs.get(digest)));
      }
      return responses.map((response) => {
        const place = found.get(response);
        const values = place && shards.get(place.digest)?.subarray(place.start, place.start + place.count);
        if (values?.length === place?.count && values !== undefined) return { response, tokenLogps: values };
        throw new PairwiseError('MISSING_LOGPS', `the store has no reference logps of the response ${response}`);
      });
    },
  };
}

interface Row {
  response: string;
  digest: Digest;
  start: number;
  count: number;
}

interface Place extends Row {
  response: Digest;
}

function hexOf(digest: Digest): string {
  return digest.slice('sha256:'.length);
}
