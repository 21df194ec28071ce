import { documentTable, requestAgeIndex, requestTable } from '@pairwise/database';

/** The dataset process's tables: one table of documents per resource, and tables for look-ups by anything but the name. */
export const migrations = [
  {
    id: '0001-resources',
    sql: `
      ${['datasets', 'imports', 'versions', 'encodings', 'models'].map(documentTable).join('')}
      ${requestTable}
      -- Imports that are READY and in no version yet.
      create table pending_imports (
        import text primary key references imports (name),
        dataset text not null references datasets (name)
      );
      create index pending_imports_by_dataset on pending_imports (dataset);
      create index models_by_signature on models (parent, (document->>'signature')) where delete_time is null;`,
  },
  { id: '0002-request-age', sql: requestAgeIndex },
];
