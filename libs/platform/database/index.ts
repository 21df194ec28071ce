export { letPostgresPass } from './account.ts';
export { openDatabase, type Database, type Queries } from './database.ts';
export { migrate, type Migration } from './migrate.ts';
export { startEmbeddedPostgres, type EmbeddedPostgres, type EmbeddedPostgresOptions } from './embedded.ts';
export { documentTable, openDocuments, type Codec, type Documents, type Stored } from './documents.ts';
export { callOf, once, repeated, requestTable, type OnceCall } from './requests.ts';
