import { documentTable, requestAgeIndex, requestTable } from '@pairwise/database';

/** The export service's tables: exports as documents that include their artifacts, and the pushes of these. */
export const migrations = [
  { id: '0001-exports', sql: documentTable('exports') },
  { id: '0002-pushes', sql: `${documentTable('pushes')} ${requestTable}` },
  { id: '0003-request-age', sql: requestAgeIndex },
];
