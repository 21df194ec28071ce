import { documentTable } from '@pairwise/database';

/** The export service's only table: exports as documents that include their artifacts. */
export const migrations = [{ id: '0001-exports', sql: documentTable('exports') }];
