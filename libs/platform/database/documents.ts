import { PairwiseError } from '@pairwise/errors';
import type { Database, Queries } from './database.ts';

/** Converts a document to JSON and back. The message types of ts-proto are codecs. */
export interface Codec<T> {
  toJSON(document: T): unknown;
  fromJSON(json: never): T;
}

/** A document with its etag, which differs after every change. */
export type Stored<T> = T & { etag: string };

/** What `alter` did to a document. An unchanged document is not written and keeps its etag. */
export type Change = 'changed' | 'unchanged';

/** Resources stored as named documents. Each change happens under a row lock. */
export interface Documents<T extends object> {
  /** Inserts a document. Returns false and does nothing if the name is or was taken: names are never reused. */
  create(name: string, parent: string, document: T, on?: Queries): Promise<boolean>;
  /** Throws NOT_FOUND. */
  get(name: string): Promise<Stored<T>>;
  find(name: string): Promise<Stored<T> | undefined>;
  /**
   * Changes a document under its row lock. `alter` modifies the copy that it receives, and may write more through `tx`.
   * After a lost connection it may be called again. Throws NOT_FOUND. `within` is a transaction to make the change in;
   * default: one of its own.
   */
  change(
    name: string,
    alter: (document: T, tx: Queries) => Promise<Change> | Change,
    within?: Queries,
  ): Promise<Stored<T>>;
  /**
   * Returns the documents of a parent, newest first: those that follow the one named `after`, which may have been deleted, or
   * the first ones if `after` is empty.
   */
  list(parent: string, limit: number, after: string): Promise<Stored<T>[]>;
  /**
   * Deletes a document. `alongside` deletes what belongs to it, and may refuse by throwing. The name stays taken.
   * Throws NOT_FOUND, or ETAG_MISMATCH if `etag` is given and differs from the document's. `within` as in `change`.
   */
  remove(
    name: string,
    etag: string,
    alongside?: (document: T, tx: Queries) => Promise<void>,
    within?: Queries,
  ): Promise<void>;
}

/** The SQL of the table for `openDocuments`, for a migration. */
export function documentTable(table: string): string {
  return `
    create table ${table} (
      name text primary key,
      parent text not null,
      version bigint not null default 1,
      document jsonb not null,
      create_time timestamptz not null default clock_timestamp(),
      delete_time timestamptz
    );
    create index ${table}_by_time on ${table} (parent, create_time desc, name) where delete_time is null;`;
}

/**
 * Opens the documents in a table made with `documentTable`. `kind` names them in errors, as in `there is no run '...'`.
 */
export function openDocuments<T extends object>(
  database: Database,
  table: string,
  kind: string,
  codec: Codec<T>,
): Documents<T> {
  const stored = ({ document, version }: Row): Stored<T> => ({
    ...codec.fromJSON(document as never),
    etag: String(version),
  });
  const select = `select version, document from ${table} where delete_time is null`;

  const transaction = <R>(within: Queries | undefined, work: (tx: Queries) => Promise<R>): Promise<R> =>
    within === undefined ? database.transaction(work) : work(within);

  async function find(name: string, on: Queries, lock: '' | 'for update'): Promise<Stored<T> | undefined> {
    const row = await on.row<Row>(`${select} and name = $1 ${lock}`, [name]);
    return row && stored(row);
  }

  async function need(name: string, on: Queries, lock: '' | 'for update'): Promise<Stored<T>> {
    const document = await find(name, on, lock);
    if (document !== undefined) return document;
    throw new PairwiseError('NOT_FOUND', `name: there is no ${kind} '${name}'`, { field: 'name', metadata: { name } });
  }

  return {
    create: async (name, parent, document, on = database) => {
      const sql = `insert into ${table} (name, parent, document) values ($1, $2, $3) on conflict (name) do nothing`;
      return (await on.run(sql, [name, parent, JSON.stringify(codec.toJSON(document))])) === 1;
    },
    get: (name) => need(name, database, ''),
    find: (name) => find(name, database, ''),
    change: (name, alter, within) =>
      transaction(within, async (tx) => {
        const document = await need(name, tx, 'for update');
        if ((await alter(document, tx)) === 'unchanged') return document;
        const sql = `update ${table} set document = $2, version = version + 1 where name = $1`;
        await tx.run(sql, [name, JSON.stringify(codec.toJSON(document))]);
        return { ...document, etag: String(BigInt(document.etag) + 1n) };
      }),
    list: async (parent, limit, after) => {
      const place = `(select create_time from ${table} where name = $3)`;
      const follows = `create_time <= ${place} and (create_time < ${place} or name > $3)`;
      const sql = `${select} and parent = $1 and ($3 = '' or ${follows}) order by create_time desc, name limit $2`;
      return (await database.rows<Row>(sql, [parent, limit, after])).map(stored);
    },
    remove: (name, etag, alongside, within) =>
      transaction(within, async (tx) => {
        const document = await need(name, tx, 'for update');
        if (etag !== '' && etag !== document.etag) {
          const message = `etag: the ${kind} '${name}' has changed since; read it again`;
          throw new PairwiseError('ETAG_MISMATCH', message, { field: 'etag' });
        }
        await alongside?.(document, tx);
        await tx.run(`update ${table} set delete_time = now() where name = $1`, [name]);
      }),
  };
}

interface Row {
  version: bigint;
  document: unknown;
}
