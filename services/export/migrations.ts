import { documentTable } from '@pairwise/database';

/** The export service's tables: exports as documents, their artifacts included. */
export const migrations = [{ id: '0001-exports', sql: documentTable('exports') }];
