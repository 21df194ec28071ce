import { openDatabase } from '@pairwise/database';
import { PairwiseError } from '@pairwise/errors';
import { type Access, openSecurity, openTokens } from '@pairwise/rpc';

// Checked before any process starts, so that a problem is reported once instead of by seven processes.

/** Short, because a user is waiting at the terminal. */
const databasePatienceMs = 3000;

/** Throws UNAVAILABLE if the database cannot be used. */
export async function checkDatabase(url: string): Promise<void> {
  const database = openDatabase({ url, schema: 'public', maxConnections: 1, patienceMs: databasePatienceMs });
  try {
    await database.row('select 1');
  } catch (error) {
    const message = `the database of DATABASE_URL cannot be used: ${(error as Error).message}`;
    throw new PairwiseError('UNAVAILABLE', message, { field: 'DATABASE_URL', cause: error });
  } finally {
    await database.close();
  }
}

/** Throws INVALID_ARGUMENT if a token file is unusable, or if the processes could not call each other with it. */
export function checkTokens(access: Access): void {
  const log = { error: () => undefined };
  const token = openSecurity({ tokenFile: access.tokenFile }, log).token?.();
  const holder = openTokens(access, log)(token === undefined ? undefined : `Bearer ${token}`);
  if (access.accessFile === undefined || holder?.roles['*'] === 'admin') return;
  throw new PairwiseError(
    'INVALID_ARGUMENT',
    'the processes need a token to call each other: pass its file with --token-file, and give it the role admin on * ' +
      'in the access file',
    { field: 'PAIRWISE_TOKEN_FILE' },
  );
}
