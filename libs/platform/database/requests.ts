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

/** The SQL of the index by which `runOnce` finds requests that are too old, for a migration after that of the table. */
export const requestAgeIndex = 'create index requests_by_time on requests (create_time);';

/** How long a request is recognised when it is repeated. */
const keptDays = 30;

/** A call that can be repeated because of its `request_id`. */
export interface OnceCall {
  /** e.g. `CreateRun`. */
  method: string;
  /** The project of the resource; each has request ids of its own. */
  project: string;
  /** Chosen by the caller, at most 64 characters. Empty for a call that should not be recognised when repeated. */
  requestId: string;
  /** Digest of everything that matters in the request, without the id. */
  request: Digest;
}

/**
 * Describes a call of a method with a request of the API, which names a resource or its parent. Everything in the request
 * except its id matters.
 */
export function callOf<T extends { requestId: string } & ({ name: string } | { parent: string })>(
  method: string,
  codec: { toJSON(request: T): unknown },
  request: T,
): OnceCall {
  const { requestId } = request;
  const [, project = ''] = ('parent' in request ? request.parent : request.name).split('/');
  return { method, project, requestId, request: fingerprintOf(codec.toJSON({ ...request, requestId: '' }) as Recipe) };
}

/** The request id as it is stored: names of projects have no slash. */
const storedId = ({ project, requestId }: OnceCall) => `${project}/${requestId}`;

/**
 * Runs `work` once per project, method and request id (AIP-155). A repeated call, even a concurrent one, returns the name
 * that the first call returned, for at least 30 days. Everything happens in one transaction, so a failed call can be repeated
 * with the same id. Throws REQUEST_ID_REUSED if the id was used with another request.
 */
export function runOnce(database: Database, call: OnceCall, work: (tx: Queries) => Promise<string>): Promise<string> {
  const { method, requestId, request } = call;
  if (requestId.length > 64) {
    throw new PairwiseError('INVALID_ARGUMENT', 'request_id: has more than 64 characters', { field: 'request_id' });
  }
  return database.transaction(async (tx) => {
    if (requestId === '') return work(tx);
    const sql = 'insert into requests (method, request_id, request) values ($1, $2, $3) on conflict do nothing';
    if ((await tx.run(sql, [method, storedId(call), request])) === 1) {
      const resource = await work(tx);
      await tx.run('update requests set resource = $3 where method = $1 and request_id = $2', [
        method,
        storedId(call),
        resource,
      ]);
      await forgetOld(tx);
      return resource;
    }
    return (await repeated(tx, call))!;
  });
}

/**
 * Returns the name that an earlier identical call returned; undefined if there was none. For checks that matter only
 * the first time. Throws REQUEST_ID_REUSED if the id was used with another request.
 */
export async function repeated(on: Queries, call: OnceCall): Promise<string | undefined> {
  const { method, requestId, request } = call;
  const sql = 'select request, resource from requests where method = $1 and request_id = $2';
  const before = await on.row<{ request: string; resource: string }>(sql, [method, storedId(call)]);
  if (before === undefined || before.request === request) return before?.resource;
  const message = `request_id: '${requestId}' was already used with another request; choose a new one`;
  throw new PairwiseError('REQUEST_ID_REUSED', message, { field: 'request_id' });
}

/** Deletes some requests that are too old, more than each call adds. */
function forgetOld(tx: Queries): Promise<number> {
  return tx.run(
    `delete from requests where (method, request_id) in (
       select method, request_id from requests where create_time < now() - $1 * interval '1 day'
       order by create_time limit 10 for update skip locked)`,
    [keptDays],
  );
}
