import { PairwiseError } from '@pairwise/errors';

/** SQLSTATE or errno of an error that came from `pg`, else undefined. */
function errorCodeOf(error: unknown): string | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : undefined;
}

const lostSocket = new Set(['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ENOTFOUND', 'EAI_AGAIN', 'ETIMEDOUT']);
/**
 * The server is stopping (57P01), crashed (57P02), is starting or recovering (57P03), has no connections left (53300),
 * or ended a session that was idle in a transaction (25P03).
 */
const serverAway = new Set(['57P01', '57P02', '57P03', '53300', '25P03']);

/**
 * Whether the server could not be reached or went down, so that a retry may succeed a moment later. If a socket ends
 * during a query, `pg` reports that only in the message.
 */
export function isConnectionLoss(error: unknown): boolean {
  const code = errorCodeOf(error);
  if (code !== undefined) return lostSocket.has(code) || serverAway.has(code) || code.startsWith('08');
  return (
    error instanceof Error &&
    /^Connection terminated|timeout exceeded when trying to connect|is not queryable$/.test(error.message)
  );
}

/** Whether Postgres rolled a transaction back because of another one: a deadlock or a serialisation failure. */
export function isConflict(error: unknown): boolean {
  const code = errorCodeOf(error);
  return code === '40001' || code === '40P01';
}

/**
 * Whether the server refused us: the role or password (28...), the database (3D000), a privilege (42501), or TLS on
 * either side.
 */
function isRefusal(error: unknown): error is Error {
  const code = errorCodeOf(error) ?? '';
  return (
    /^28|^(3D000|42501)$|^ERR_(TLS|SSL|OSSL)|CERT|VERIFY/.test(code) ||
    (error instanceof Error && /does not support SSL/.test(error.message))
  );
}

/**
 * Converts an error of `pg`: UNAVAILABLE for a lost connection, DISK_FULL for a full disk under Postgres, WRONG_STATE
 * if the database refuses this process, which an operator has to fix. Any other error is returned as it is.
 */
export function asPairwiseError(error: unknown): unknown {
  if (isConnectionLoss(error)) {
    return new PairwiseError('UNAVAILABLE', 'the database cannot be reached; try again in a moment', { cause: error });
  }
  if (errorCodeOf(error) === '53100') {
    return new PairwiseError('DISK_FULL', 'the disk under the database is full; free some space', { cause: error });
  }
  if (isRefusal(error)) {
    const remedy =
      'check the role, password, database and TLS settings of DATABASE_URL, and that the role has CREATE on the database';
    return new PairwiseError('WRONG_STATE', `the database refuses this process: ${error.message}; ${remedy}`, {
      cause: error,
    });
  }
  return error;
}
