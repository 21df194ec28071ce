import { randomUUID } from 'node:crypto';
import { DatasetReport, Import, ImportPolicy, ImportState, type ImportHeader } from '@pairwise/api';
import { openDocuments, type Database, type Queries } from '@pairwise/database';
import { PairwiseError } from '@pairwise/errors';
import type { Digest } from '@pairwise/fingerprint';
import type { Report } from '@pairwise/preference';
import { inField, newId, parseName, statusOf } from '@pairwise/rpc';
import { datasetPattern, type Datasets } from './datasets.ts';
import type { Staging } from './staging.ts';

/** An import with what belongs to it alone. */
export interface ImportRecord {
  import: Import;
  /** Names its files in the staging folder. */
  uid: string;
  policy: ImportPolicy;
  /** Digest of the file once it has been whole, else empty. */
  digest: string;
}

interface RecordJson extends Omit<ImportRecord, 'import'> {
  import: unknown;
}

const codec = {
  toJSON: (record: ImportRecord): RecordJson => ({ ...record, import: Import.toJSON(record.import) }),
  fromJSON: (json: RecordJson): ImportRecord => ({ ...json, import: Import.fromJSON(json.import) }),
};

/** Most imports of a dataset that are in no version: each of them is an open file while the next version is made. */
const maxPending = 1000;

export type Imports = ReturnType<typeof openImports>;

async function refuseMany(dataset: string, tx: Queries): Promise<void> {
  const sql = 'select count(*) from pending_imports where dataset = $1';
  const { count } = (await tx.row<{ count: bigint }>(sql, [dataset]))!;
  if (count < maxPending) return;
  throw new PairwiseError('WRONG_STATE', `the dataset has ${count} imports that are in no version; seal one first`);
}

/** The imports in Postgres, with their files in the staging folder. */
export function openImports(database: Database, datasets: Datasets, staging: Staging) {
  const documents = openDocuments(database, 'imports', 'import', codec);

  return {
    /** The import of a header, begun if it is new. Throws NOT_FOUND where the dataset is not there, INVALID_ARGUMENT. */
    async begin(header: ImportHeader): Promise<ImportRecord> {
      const { parent } = header;
      parseName(datasetPattern, parent, 'header.parent');
      const policy = header.policy === ImportPolicy.UNSPECIFIED ? ImportPolicy.STRICT : header.policy;
      const name = `${parent}/imports/${newId(header.importId, 'import', 'header.import_id')}`;
      const state = ImportState.RECEIVING;
      const fresh = Import.create({ name, state, createTime: new Date() });
      const begin = datasets.change(parent, async (_, tx) => {
        const record = { import: fresh, uid: randomUUID(), policy, digest: '' };
        if (await documents.create(name, parent, record, tx)) await refuseMany(parent, tx);
        return false;
      });
      await inField('header.parent', begin);
      const record = await documents.get(name);
      if (header.policy === ImportPolicy.UNSPECIFIED || header.policy === record.policy) return record;
      const message = `header.policy: the import '${name}' was begun with ${record.policy}; go on with that`;
      throw new PairwiseError('INVALID_ARGUMENT', message, { field: 'header.policy' });
    },

    /** Throws NOT_FOUND. */
    record: (name: string): Promise<ImportRecord> => documents.get(name),

    /** An import as it is now, with the bytes that are safely on disk while they arrive. Throws NOT_FOUND. */
    async get(name: string): Promise<Import> {
      const { import: found, uid } = await documents.get(name);
      if (found.state !== ImportState.RECEIVING) return found;
      return { ...found, committedSizeBytes: BigInt(await staging.committedBytes(uid)) };
    },

    /** Ends an import whose pairs are accepted and staged; its version is to be sealed. Throws NOT_FOUND. */
    async accept(name: string, digest: Digest, sizeBytes: number, report: Report): Promise<Import> {
      const dataset = name.slice(0, name.indexOf('/imports/'));
      const changed = await documents.change(name, async (record, tx) => {
        if (record.import.state !== ImportState.RECEIVING) return false;
        record.digest = digest;
        record.import.state = ImportState.READY;
        record.import.committedSizeBytes = BigInt(sizeBytes);
        record.import.report = DatasetReport.create(report);
        await tx.run('insert into pending_imports (import, dataset) values ($1, $2)', [name, dataset]);
        return true;
      });
      return changed.import;
    },

    /** Ends an import whose file is refused. Throws NOT_FOUND. */
    async refuse(name: string, digest: Digest, sizeBytes: number, error: PairwiseError): Promise<void> {
      await documents.change(name, (record) => {
        if (record.import.state !== ImportState.RECEIVING) return false;
        record.digest = digest;
        record.import.state = ImportState.FAILED;
        record.import.committedSizeBytes = BigInt(sizeBytes);
        record.import.error = statusOf(error);
        return true;
      });
    },

    /** The imports of a dataset that are to be sealed, oldest first. */
    async pending(dataset: string, on: Queries = database): Promise<ImportRecord[]> {
      const rows = await on.rows<{ document: RecordJson }>(
        `select document from pending_imports join imports on name = import
         where dataset = $1 and delete_time is null order by create_time, name`,
        [dataset],
      );
      return rows.map(({ document }) => codec.fromJSON(document));
    },

    /** Notes that a dataset's imports are in a version. */
    async sealed(records: readonly ImportRecord[], tx: Queries): Promise<void> {
      const names = records.map((record) => record.import.name);
      await tx.run('delete from pending_imports where import = any($1)', [names]);
    },

    /** Deletes the imports of a dataset; returns them, since their files are to be dropped. */
    async removeAll(dataset: string, tx: Queries): Promise<ImportRecord[]> {
      await tx.run('delete from pending_imports where dataset = $1', [dataset]);
      const rows = await tx.rows<{ document: RecordJson }>(
        'update imports set delete_time = now() where parent = $1 and delete_time is null returning document',
        [dataset],
      );
      return rows.map(({ document }) => codec.fromJSON(document));
    },

    /** Drops the files of imports that are sealed, refused or deleted. */
    async drop(records: readonly ImportRecord[]): Promise<void> {
      for (const { uid } of records) await staging.drop(uid);
    },

    /**
     * Drops all files that no import needs: a process may have been killed before it could. Before anything is uploaded.
     */
    async sweep(): Promise<void> {
      const rows = await database.rows<{ uid: string }>(
        `select document->>'uid' as uid from imports left join pending_imports on name = import
         where delete_time is null and (import is not null or document->'import'->>'state' = $1)`,
        [ImportState.RECEIVING],
      );
      await staging.sweep(new Set(rows.map(({ uid }) => uid)));
    },
  };
}
