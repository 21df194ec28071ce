import { PairwiseError } from '@pairwise/errors';
import { fingerprintOf, type Digest, type Recipe } from '@pairwise/fingerprint';
import type { Database, Queries } from './database.ts';

/** The SQL of the table for `runOnce`, for a migration of each schema that uses it. */
export const requestTable = `
  create table requests (
    method text not null,
    request_id text not null,
    -- Digest of the request without its id.
    request text not null,
    -- Name of the resource that the call made or changed.
    resource text,
    create_time timestamptz not null default now(),
    primary key (method, request_id)
  );`;

/** A call that can be repeated because of its `request_id`. */
export interface OnceCall {
  /** e.g. `CreateRun`. */
  method: string;
  /** Chosen by the caller, at most 64 characters. Empty for a call that should not be recognised when repeated. */
  requestId: string;
  /** Digest of everything that matters in the request, without the id. */
  request: Digest;
}

/** Describes a call of a method with a request of the API. Everything in the request except its id matters. */
export function callOf<T extends { requestId: string }>(
  method: string,
  codec: { toJSON(request: T): unknown },
  request: T,
): OnceCall {
  const { requestId } = request;
  return { method, requestId, request: fingerprintOf(codec.toJSON({ ...request, requestId: '' }) as Recipe) };
}

/**
 * Runs `work` once per method and request id (AIP-155). A repeated call, even a concurrent one, returns the name that
 * the first call returned. Everything happens in one transaction, so a failed call can be repeated with the same id.
 * Throws REQUEST_ID_REUSED if the id was used with another request.
 */
export function runOnce(
  database: Database,
  { method, requestId, request }: OnceCall,
  work: (tx: Queries) => Promise<string>,
): Promise<string> {
  if (requestId.length > 64) {
    throw new PairwiseError('INVALID_ARGUMENT', 'request_id: has more than 64 characters', { field: 'request_id' });
  }
  return database.transaction(async (tx) => {
    if (requestId === '') return work(tx);
    const sql = 'insert into requests (method, request_id, request) values ($1, $2, $3) on conflict do nothing';
    if ((await tx.run(sql, [method, requestId, request])) === 1) {
      const resource = await work(tx);
      await tx.run('update requests set resource = $3 where method = $1 and request_id = $2', [
        method,
        requestId,
        resource,
      ]);
      return resource;
    }
    return (await repeated(tx, { method, requestId, request }))!;
  });
}

/**
 * Returns the name that an earlier identical call returned; undefined if there was none. For checks that matter only
 * the first time. Throws REQUEST_ID_REUSED if the id was used with another request.
 */
export async function repeated(on: Queries, { method, requestId, request }: OnceCall): Promise<string | undefined> {
  const sql = 'select request, resource from requests where method = $1 and request_id = $2';
  const before = await on.row<{ request: string; resource: string }>(sql, [method, requestId]);
  if (before === undefined || before.request === request) return before?.resource;
  const message = `request_id: '${requestId}' was already used with another request; choose a new one`;
  throw new PairwiseError('REQUEST_ID_REUSED', message, { field: 'request_id' });
}
