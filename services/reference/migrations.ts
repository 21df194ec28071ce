import { documentTable, rateTable, requestAgeIndex, requestTable } from '@pairwise/database';

/** The reference service's tables: coverages as documents, the index from responses to places in shard blobs, and rates. */
export const migrations = [
  {
    id: '0001-logps',
    sql: `
      ${documentTable('coverages')}
      create table reference_models (id serial primary key, fingerprint text not null unique);
      create table shards (id bigserial primary key, digest text not null unique);
      create table logps (
        reference_model integer not null references reference_models (id),
        -- The 32 bytes of the response's digest.
        response bytea not null,
        shard bigint not null references shards (id),
        -- First value in the shard's token_logps, and how many.
        start integer not null,
        count integer not null,
        primary key (reference_model, response)
      );`,
  },
  { id: '0002-rates', sql: rateTable },
  { id: '0003-requests', sql: `${requestTable} ${requestAgeIndex}` },
];
