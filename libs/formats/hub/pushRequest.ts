import { PairwiseError, shown } from '@pairwise/errors';
import { headersFor, reach, TransientError, type HubAccess } from './request.ts';

/** How long the hub may take to complete a large file or a commit before it counts as stuck, in milliseconds. */
export const slowMs = 600_000;

export interface HubCall {
  url: URL;
  /** What is done, for messages, such as `the commit to owner/name`. */
  what: string;
  /** A body makes it a POST; without one it is a GET. */
  body?: string;
  /** Media type of the body and of the response. Default: `application/json`. */
  type?: string;
  /** Statuses that are a result, not an error. */
  expected?: readonly number[];
}

/**
 * Sends a request to the hub's API and returns the JSON of its response; for an expected status, the status. Redirects are
 * not followed, since they mean that the repository was renamed.
 * Throws PERMISSION_DENIED, NOT_FOUND, UPLOAD_FAILED, and TransientError if a retry may help.
 */
export async function callHub(hub: HubAccess, call: HubCall, signal: AbortSignal): Promise<unknown> {
  const { url, what, body, type = 'application/json', expected = [] } = call;
  const headers = headersFor(hub, url);
  headers.set('accept', type === 'application/x-ndjson' ? 'application/json' : type);
  if (body !== undefined) headers.set('content-type', type);
  const method = body === undefined ? 'GET' : 'POST';
  const response = await reach(url, { method, headers, body: body ?? null, redirect: 'manual', signal });
  if (expected.includes(response.status)) {
    await response.body?.cancel();
    return response.status;
  }
  if (!response.ok) {
    await response.body?.cancel();
    throw refusalOf(response, what);
  }
  return readJson(response, what, signal);
}

async function readJson(response: Response, what: string, signal: AbortSignal): Promise<unknown> {
  let text: string;
  try {
    text = await response.text();
  } catch (cause) {
    if (signal.aborted) throw cause;
    throw new TransientError(`the connection broke during ${what}`, 0, cause);
  }
  try {
    // Verifying a file and completing one may have an empty response.
    return text === '' ? undefined : (JSON.parse(text) as unknown);
  } catch {
    throw notAHub(what);
  }
}

/** The error for a response that does not have the form of the hub's. */
export function notAHub(what: string): PairwiseError {
  return new PairwiseError('UPLOAD_FAILED', `the response to ${what} is not that of a hub; check HF_ENDPOINT`);
}

function refusalOf({ status, headers }: Response, what: string): PairwiseError {
  const said = headers.get('x-error-message');
  const says = said === null ? '' : `; the hub says ${shown(said)}`;
  if (status === 401 || status === 403) {
    const remedy = 'HF_TOKEN must be a token with write access to it';
    return new PairwiseError('PERMISSION_DENIED', `the hub denies ${what}: ${remedy}${says}`);
  }
  if (status === 404) return new PairwiseError('NOT_FOUND', `the hub does not find the target of ${what}${says}`);
  if (status >= 300 && status < 400) {
    return new PairwiseError('UPLOAD_FAILED', `the hub redirects ${what}: push to the repository's new name`);
  }
  return new PairwiseError('UPLOAD_FAILED', `the hub responds with status ${status} to ${what}${says}`);
}
