import { randomUUID } from 'node:crypto';
import {
  DatasetReport,
  Import,
  ImportPolicy,
  importPolicyFromJSON,
  importPolicyToJSON,
  ImportState,
  importStateToJSON,
  type ImportHeader,
} from '@pairwise/api';
import { openDocuments, type Database, type Documents, type Queries } from '@pairwise/database';
import { PairwiseError } from '@pairwise/errors';
import type { Digest } from '@pairwise/fingerprint';
import type { Report } from '@pairwise/preference';
import { inField, newId, parseName, statusOf } from '@pairwise/rpc';
import { datasetPattern, type Datasets } from './datasets.ts';
import type { Staging } from './staging.ts';

/** An import and what only this service knows about it. */
export interface ImportRecord {
  import: Import;
  /** Identifies the import's files in the staging folder. */
  uid: string;
  policy: ImportPolicy;
  /** Digest of the complete file; empty until then. */
  digest: string;
}

/** The imports in Postgres, with their files in the staging folder. */
export interface Imports {
  /**
   * Returns the import that an upload header names, and creates it if it is new. Throws NOT_FOUND if the dataset does not
   * exist, INVALID_ARGUMENT, and WRONG_STATE if the dataset has too many imports that are not in a version.
   */
  begin(header: ImportHeader): Promise<ImportRecord>;
  /** Throws NOT_FOUND. */
  record(name: string): Promise<ImportRecord>;
  /** Returns the import with the number of bytes that are safely on disk. Throws NOT_FOUND. */
  get(name: string): Promise<Import>;
  /** The imports of a dataset, newest first; see `Documents.list`. */
  list(dataset: string, limit: number, after: string): Promise<Import[]>;
  /** Marks an import as READY once its pairs are staged. Throws NOT_FOUND. */
  accept(name: string, digest: Digest, sizeBytes: number, report: Report): Promise<Import>;
  /** Marks an import as FAILED. Throws NOT_FOUND. */
  refuse(name: string, digest: Digest, sizeBytes: number, error: PairwiseError): Promise<void>;
  /** Returns the imports of a dataset that are READY and not in a version yet, oldest first. */
  pending(dataset: string, tx: Queries): Promise<ImportRecord[]>;
  /** Records that these imports are now in a version. */
  sealed(records: readonly ImportRecord[], tx: Queries): Promise<void>;
  /** Deletes all imports of a dataset and returns them; their files remain until `dropFiles`. */
  removeAll(dataset: string, tx: Queries): Promise<ImportRecord[]>;
  /** Removes the staged files of imports that no longer need them. */
  dropFiles(records: readonly ImportRecord[]): Promise<void>;
  /** Removes all staged files that a killed process left behind. Call it before the first upload. */
  sweep(): Promise<void>;
}

interface RecordJson extends Omit<ImportRecord, 'import' | 'policy'> {
  import: unknown;
  policy: string | number;
}

const codec = {
  toJSON: (record: ImportRecord): RecordJson => ({
    ...record,
    import: Import.toJSON(record.import),
    policy: importPolicyToJSON(record.policy),
  }),
  fromJSON: (json: RecordJson): ImportRecord => ({
    ...json,
    import: Import.fromJSON(json.import),
    policy: importPolicyFromJSON(json.policy),
  }),
};

/** Sealing keeps a file open for each import that is not in a version, so a dataset has at most this many. */
const maxPending = 1000;

export function openImports(database: Database, datasets: Datasets, staging: Staging): Imports {
  const documents = openDocuments(database, 'imports', 'import', codec);

  /** An import with the number of bytes that are safely on disk. */
  async function current({ import: found, uid }: ImportRecord): Promise<Import> {
    if (found.state !== ImportState.RECEIVING) return found;
    return { ...found, committedSizeBytes: BigInt(await staging.committedBytes(uid)) };
  }

  /** Ends an import that is still receiving; an import that has ended stays as it is. */
  async function end(name: string, change: (record: ImportRecord, tx: Queries) => Promise<void> | void) {
    const changed = await documents.change(name, async (record, tx) => {
      if (record.import.state !== ImportState.RECEIVING) return 'unchanged';
      await change(record, tx);
      return 'changed';
    });
    return changed.import;
  }

  return {
    begin: (header) => begin(documents, datasets, header),
    record: (name) => documents.get(name),
    get: async (name) => current(await documents.get(name)),
    list: async (dataset, limit, after) => Promise.all((await documents.list(dataset, limit, after)).map(current)),
    accept: (name, digest, sizeBytes, report) =>
      end(name, async (record, tx) => {
        record.digest = digest;
        record.import.state = ImportState.READY;
        record.import.committedSizeBytes = BigInt(sizeBytes);
        record.import.report = DatasetReport.create(report);
        const dataset = name.slice(0, name.indexOf('/imports/'));
        await tx.run('insert into pending_imports (import, dataset) values ($1, $2)', [name, dataset]);
      }),
    async refuse(name, digest, sizeBytes, error) {
      await end(name, (record) => {
        record.digest = digest;
        record.import.state = ImportState.FAILED;
        record.import.committedSizeBytes = BigInt(sizeBytes);
        record.import.error = statusOf(error);
      });
    },
    pending,
    async sealed(records, tx) {
      const names = records.map((record) => record.import.name);
      await tx.run('delete from pending_imports where import = any($1)', [names]);
    },
    removeAll,
    async dropFiles(records) {
      for (const { uid } of records) await staging.drop(uid);
    },
    async sweep() {
      const rows = await database.rows<{ uid: string }>(
        `select document->>'uid' as uid from imports left join pending_imports on name = import
         where delete_time is null and (import is not null or document->'import'->>'state' = $1)`,
        [importStateToJSON(ImportState.RECEIVING)],
      );
      await staging.sweep(new Set(rows.map(({ uid }) => uid)));
    },
  };
}

async function begin(
  documents: Documents<ImportRecord>,
  datasets: Datasets,
  header: ImportHeader,
): Promise<ImportRecord> {
  const { parent } = header;
  parseName(datasetPattern, parent, 'header.parent');
  const record = newRecord(header);
  const { name } = record.import;
  const create = datasets.change(parent, async (_, tx) => {
    if (await documents.create(name, parent, record, tx)) await checkPendingCount(parent, tx);
    return 'unchanged' as const;
  });
  await inField('header.parent', create);
  const stored = await documents.get(name);
  if (header.policy === ImportPolicy.UNSPECIFIED || header.policy === stored.policy) return stored;
  const message = `header.policy: the import '${name}' started with ${importPolicyToJSON(stored.policy)}; use the same policy to resume it`;
  throw new PairwiseError('INVALID_ARGUMENT', message, { field: 'header.policy' });
}

function newRecord({ parent, importId, policy }: ImportHeader): ImportRecord {
  const name = `${parent}/imports/${newId(importId, 'import', 'header.import_id')}`;
  return {
    import: Import.create({ name, state: ImportState.RECEIVING, createTime: new Date() }),
    uid: randomUUID(),
    policy: policy === ImportPolicy.UNSPECIFIED ? ImportPolicy.STRICT : policy,
    digest: '',
  };
}

async function checkPendingCount(dataset: string, tx: Queries): Promise<void> {
  const sql = 'select count(*) from pending_imports where dataset = $1';
  const { count } = (await tx.row<{ count: bigint }>(sql, [dataset]))!;
  if (count < maxPending) return;
  const message = `the dataset has ${count} imports that are not in a version; seal a version first`;
  throw new PairwiseError('WRONG_STATE', message);
}

async function pending(dataset: string, tx: Queries): Promise<ImportRecord[]> {
  const rows = await tx.rows<{ document: RecordJson }>(
    `select document from pending_imports join imports on name = import
     where dataset = $1 and delete_time is null order by create_time, name`,
    [dataset],
  );
  return rows.map(({ document }) => codec.fromJSON(document));
}

async function removeAll(dataset: string, tx: Queries): Promise<ImportRecord[]> {
  await tx.run('delete from pending_imports where dataset = $1', [dataset]);
  const rows = await tx.rows<{ document: RecordJson }>(
    'update imports set delete_time = now() where parent = $1 and delete_time is null returning document',
    [dataset],
  );
  return rows.map(({ document }) => codec.fromJSON(document));
}
