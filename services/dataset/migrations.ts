import { documentTable, requestTable } from '@pairwise/database';

/** The dataset process's tables: each resource is a document. */
export const migrations = [
  {
    id: '0001-resources',
    sql: ['datasets', 'imports', 'versions', 'encodings', 'models'].map(documentTable).join('') + requestTable,
  },
];
