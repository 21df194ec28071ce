import { Encoding } from '@pairwise/api';
import { openDocuments, type Database, type Documents } from '@pairwise/database';
import { versionPattern } from '../pairs/versions.ts';

export const encodingPattern = `${versionPattern}/encodings/{encoding}` as const;

/** The encodings in Postgres. They outlive their datasets because runs may use them. */
export type Encodings = Documents<Encoding>;

export function openEncodings(database: Database): Encodings {
  return openDocuments(database, 'encodings', 'encoding', Encoding);
}
