import { PairwiseError } from '@pairwise/errors';

/** SQLSTATE or errno of an error that came from `pg`, else undefined. */
function errorCodeOf(error: unknown): string | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : undefined;
}

const lostSocket = new Set(['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ENOTFOUND', 'EAI_AGAIN', 'ETIMEDOUT']);
/**
 * Server is stopping (57P01), crashed (57P02), starting or recovering (57P03), full of connections (53300), or has ended
 * a session that did nothing inside a transaction (25P03).
 */
const serverAway = new Set(['57P01', '57P02', '57P03', '53300', '25P03']);

/**
 * True where the server could not be reached or went away, so that the same thing may succeed a moment later.
 * `pg` reports a socket that ends under a query by message alone.
 */
export function isConnectionLoss(error: unknown): boolean {
  const code = errorCodeOf(error);
  if (code !== undefined) return lostSocket.has(code) || serverAway.has(code) || code.startsWith('08');
  return (
    error instanceof Error &&
    /^Connection terminated|timeout exceeded when trying to connect|is not queryable$/.test(error.message)
  );
}

/** True where Postgres rolled a transaction back because of another one: deadlock or serialisation failure. */
export function isConflict(error: unknown): boolean {
  const code = errorCodeOf(error);
  return code === '40001' || code === '40P01';
}

/** Refused: role or password (28...), the database (3D000), a right (42501), or by TLS on either side. */
function isRefusal(error: unknown): error is Error {
  const code = errorCodeOf(error) ?? '';
  return (
    /^28|^(3D000|42501)$|^ERR_(TLS|SSL|OSSL)|CERT|VERIFY/.test(code) ||
    (error instanceof Error && /does not support SSL/.test(error.message))
  );
}

/**
 * UNAVAILABLE for a lost connection, DISK_FULL for a full disk under Postgres, WRONG_STATE where the database refuses this
 * process, which an operator has to mend, else the error itself.
 */
export function asPairwiseError(error: unknown): unknown {
  if (isConnectionLoss(error)) {
    return new PairwiseError('UNAVAILABLE', 'the database is out of reach; try again in a moment', { cause: error });
  }
  if (errorCodeOf(error) === '53100') {
    return new PairwiseError('DISK_FULL', 'the disk under the database is full; free some space', { cause: error });
  }
  if (isRefusal(error)) {
    const remedy =
      'check role, password, database and TLS of DATABASE_URL, and that the role has CREATE on the database';
    return new PairwiseError('WRONG_STATE', `the database refuses this process: ${error.message}; ${remedy}`, {
      cause: error,
    });
  }
  return error;
}
