export { letPostgresPass } from './account.ts';
export { openDatabase, type Database, type Queries } from './database.ts';
export { asPairwiseError, isConflict, isConnectionLoss } from './failures.ts';
export { migrate, type Migration } from './migrate.ts';
export { startEmbeddedPostgres, type EmbeddedPostgres, type EmbeddedPostgresOptions } from './embedded.ts';
export { documentTable, openDocuments, type Change, type Codec, type Documents, type Stored } from './documents.ts';
export { takePidLock } from './pidLock.ts';
export { openPool } from './pool.ts';
export { callOf, repeated, requestTable, runOnce, type OnceCall } from './requests.ts';
