import { setTimeout as sleep } from 'node:timers/promises';
import { PairwiseError, type Reason } from '@pairwise/errors';

/** How to reach the hub; services read this from `HF_*`. */
export interface HubAccess {
  /** `HF_ENDPOINT`, such as `https://huggingface.co`. */
  endpoint: string;
  /** `HF_TOKEN`; sent only to the endpoint. */
  token?: string | undefined;
}

/** How to reach the hub and where to store its files. */
export interface HubOptions extends HubAccess {
  /** `HF_HOME`; the cache, shared with other tools, is its folder `hub`. */
  home: string;
  /** `HF_HUB_OFFLINE`: whether to use only the cache. */
  offline: boolean;
}

/** A failure that a retry may fix: the connection broke, or the server is busy. */
export class TransientError extends Error {
  readonly retryAfterMs: number;

  constructor(message: string, retryAfterMs: number, cause?: unknown) {
    super(message, { cause });
    this.name = 'TransientError';
    this.retryAfterMs = retryAfterMs;
  }
}

/** How long to wait for data before a connection counts as broken. */
export const stallMs = 60_000;
const attempts = 5;
const firstPauseMs = 250;
const longestPauseMs = 60_000;
const mostRedirects = 10;

/** URL of a path on the hub; each part is escaped. */
export function hubUrl({ endpoint }: HubAccess, ...parts: string[]): URL {
  return new URL(`${endpoint.replace(/\/+$/, '')}/${parts.map(encodeURIComponent).join('/')}`);
}

export interface HubRequest {
  method?: 'GET' | 'HEAD';
  /** The first byte, and the byte after the last one. */
  range?: { start: number; end?: number };
  signal?: AbortSignal | undefined;
  /** Whether to follow a redirect to another server. Default: true. */
  leave?: boolean;
}

/**
 * Sends a request and follows redirects itself: the token goes only to the endpoint's origin, never to another server, and
 * TLS is never left for plain text. Returns the last response, and in `linked` the x- headers of the endpoint's responses.
 * Throws TransientError if a retry may help.
 */
export async function send(hub: HubOptions, url: URL, request: HubRequest = {}) {
  const { method = 'GET', range, signal, leave = true } = request;
  const linked = new Headers();
  let at = url;
  for (let hop = 0; hop < mostRedirects; hop += 1) {
    const headers = headersFor(hub, at);
    if (range) headers.set('range', `bytes=${range.start}-${range.end === undefined ? '' : range.end - 1}`);
    const response = await reach(at, { method, headers, redirect: 'manual', signal: signal ?? null });
    if (isEndpoint(hub, at))
      for (const [name, value] of response.headers) if (name.startsWith('x-')) linked.set(name, value);
    const target = response.headers.get('location');
    if (response.status < 300 || response.status >= 400 || target === null) return { response, linked };
    const next = new URL(target, at);
    if (!leave && next.origin !== at.origin) return { response, linked };
    await response.body?.cancel();
    if (!isSafe(at, next)) {
      throw new PairwiseError('DOWNLOAD_FAILED', 'the hub redirects to an address that is not safe to follow');
    }
    at = next;
  }
  throw new PairwiseError('DOWNLOAD_FAILED', `the hub redirects more than ${mostRedirects} times`);
}

const isEndpoint = ({ endpoint }: HubAccess, url: URL) => url.origin === new URL(endpoint).origin;

/** The headers of every request. The token goes only to the endpoint's origin. */
export function headersFor(hub: HubAccess, url: URL): Headers {
  const headers = new Headers({ 'accept-encoding': 'identity', 'user-agent': 'pairwise' });
  if (isEndpoint(hub, url) && hub.token !== undefined) headers.set('authorization', `Bearer ${hub.token}`);
  return headers;
}

/** Whether one server may send us to another: TLS is never left for plain text. */
export function isSafe(from: URL, to: URL): boolean {
  return to.protocol === 'https:' || (to.protocol === 'http:' && from.protocol === 'http:');
}

/** Sends one request. Throws TransientError if there is no connection or the server is busy. */
export async function reach(url: URL, init: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url, init);
  } catch (cause) {
    if (init.signal?.aborted) throw cause;
    const problem = cause instanceof Error && cause.cause instanceof Error ? cause.cause.message : 'no connection';
    throw new TransientError(`${url.origin} cannot be reached: ${problem}`, 0, cause);
  }
  if (response.status !== 429 && response.status < 500) return response;
  await response.body?.cancel();
  const seconds = Number(response.headers.get('retry-after') ?? 0);
  throw new TransientError(`${url.origin} responds with status ${response.status}`, seconds > 0 ? seconds * 1000 : 0);
}

export interface Patience {
  signal?: AbortSignal | undefined;
  /** Returns whether the work has advanced since the last failure; then the count of attempts starts again. */
  progressed?: () => boolean;
  /** What to throw after the last attempt. Default: DOWNLOAD_FAILED. */
  reason?: Reason;
  /** How long to wait for a sign of life, in milliseconds. Default: `stallMs`. */
  patienceMs?: number | undefined;
}

/**
 * Retries `work` after a TransientError or a stall, with growing pauses; `work` calls `alive` for every sign of life.
 * Throws DOWNLOAD_FAILED, or the reason that it is given, after the last attempt.
 */
export async function patiently<T>(
  work: (signal: AbortSignal, alive: () => void) => Promise<T>,
  { signal, progressed = () => false, reason = 'DOWNLOAD_FAILED', patienceMs = stallMs }: Patience = {},
): Promise<T> {
  for (let failures = 0; ;) {
    signal?.throwIfAborted();
    const stall = new AbortController();
    const timer = setTimeout(() => stall.abort(), patienceMs);
    try {
      return await work(AbortSignal.any([stall.signal, ...(signal ? [signal] : [])]), () => timer.refresh());
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof TransientError) && !stall.signal.aborted) throw error;
      failures = progressed() ? 1 : failures + 1;
      const problem = error instanceof TransientError ? error.message : 'the server sends no data';
      if (failures >= attempts) {
        throw new PairwiseError(reason, `${problem}; tried ${attempts} times`, { cause: error });
      }
      const pauseMs = Math.max(
        firstPauseMs * 2 ** (failures - 1),
        error instanceof TransientError ? error.retryAfterMs : 0,
      );
      await sleep(Math.min(pauseMs, longestPauseMs), undefined, signal ? { signal } : {});
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Throws the error of an unsuccessful response: NOT_FOUND, PERMISSION_DENIED or DOWNLOAD_FAILED, with the remedy. */
export function checkAnswer({ status, headers }: Response, what: string, hub: HubOptions): void {
  if (status === 200 || status === 206) return;
  const code = headers.get('x-error-code');
  if (status === 404 || code === 'RepoNotFound') {
    const missing = code === 'RevisionNotFound' ? ' at this revision' : '';
    const remedy = hub.token === undefined ? '; if it is private, set HF_TOKEN to a token that may read it' : '';
    throw new PairwiseError('NOT_FOUND', `the hub has no ${what}${missing}${remedy}`);
  }
  if (status === 401 || status === 403) {
    const remedy =
      code === 'GatedRepo'
        ? 'accept its conditions on its page and set HF_TOKEN to a token of that account'
        : 'it does not exist, or HF_TOKEN must be set to a token that may read it';
    throw new PairwiseError('PERMISSION_DENIED', `the hub denies access to ${what}: ${remedy}`);
  }
  throw new PairwiseError('DOWNLOAD_FAILED', `the hub responds with status ${status} for ${what}`);
}
