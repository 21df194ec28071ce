import { setTimeout as sleep } from 'node:timers/promises';
import { PairwiseError } from '@pairwise/errors';

/** How the hub is reached and where its files are kept; services read it from `HF_*`. */
export interface HubOptions {
  /** `HF_ENDPOINT`, such as `https://huggingface.co`. */
  endpoint: string;
  /** `HF_TOKEN`; sent to the endpoint alone. */
  token?: string | undefined;
  /** `HF_HOME`; the cache that other tools share is `hub` in it. */
  home: string;
  /** `HF_HUB_OFFLINE`: only what is in the cache is used. */
  offline: boolean;
}

/** A failure that may pass: the connection broke, or the server is busy. */
export class TransientError extends Error {
  readonly retryAfterMs: number;

  constructor(message: string, retryAfterMs: number, cause?: unknown) {
    super(message, { cause });
    this.name = 'TransientError';
    this.retryAfterMs = retryAfterMs;
  }
}

/** A connection on which nothing arrives for so long is given up. */
export const stallMs = 60_000;
const attempts = 5;
const firstPauseMs = 250;
const longestPauseMs = 60_000;
const mostRedirects = 10;

/** URL of a path on the hub; each part is escaped. */
export function hubUrl({ endpoint }: HubOptions, ...parts: string[]): URL {
  return new URL(`${endpoint.replace(/\/+$/, '')}/${parts.map(encodeURIComponent).join('/')}`);
}

export interface HubRequest {
  method?: 'GET' | 'HEAD';
  /** First byte wanted, and the byte after the last one. */
  range?: { start: number; end?: number };
  signal?: AbortSignal | undefined;
  /** Whether to follow a redirect to another server. Default: true. */
  leave?: boolean;
}

/**
 * Sends a request and follows redirects by hand: the token goes to the endpoint's origin only, never to where it
 * redirects to, and never from TLS to plain text. Returns what answered last; `headers` has those that the endpoint set.
 * Throws TransientError where a repetition may help.
 */
export async function send(hub: HubOptions, url: URL, request: HubRequest = {}) {
  const { method = 'GET', range, signal, leave = true } = request;
  const linked = new Headers();
  let at = url;
  for (let hop = 0; hop < mostRedirects; hop += 1) {
    const own = at.origin === new URL(hub.endpoint).origin;
    const headers = new Headers({ 'accept-encoding': 'identity', 'user-agent': 'pairwise' });
    if (own && hub.token !== undefined) headers.set('authorization', `Bearer ${hub.token}`);
    if (range) headers.set('range', `bytes=${range.start}-${range.end === undefined ? '' : range.end - 1}`);
    const response = await reach(at, { method, headers, redirect: 'manual', signal: signal ?? null });
    if (own) for (const [name, value] of response.headers) if (name.startsWith('x-')) linked.set(name, value);
    const target = response.headers.get('location');
    if (response.status < 300 || response.status >= 400 || target === null) return { response, linked };
    const next = new URL(target, at);
    if (!leave && next.origin !== at.origin) return { response, linked };
    await response.body?.cancel();
    if (!['http:', 'https:'].includes(next.protocol) || (at.protocol === 'https:' && next.protocol !== 'https:')) {
      throw new PairwiseError('DOWNLOAD_FAILED', 'the hub redirects to an address that is not safe to follow');
    }
    at = next;
  }
  throw new PairwiseError('DOWNLOAD_FAILED', `the hub redirects more than ${mostRedirects} times`);
}

async function reach(url: URL, init: RequestInit): Promise<Response> {
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
  throw new TransientError(`${url.origin} answers with status ${response.status}`, seconds > 0 ? seconds * 1000 : 0);
}

/**
 * Does `work` again after failures that may pass, with growing pauses. `progressed` tells whether something was reached
 * since the last failure: then the count of attempts starts again. Finally throws DOWNLOAD_FAILED.
 */
export async function patiently<T>(
  work: (signal: AbortSignal, alive: () => void) => Promise<T>,
  { signal, progressed = () => false }: { signal?: AbortSignal | undefined; progressed?: () => boolean } = {},
): Promise<T> {
  for (let failures = 0; ;) {
    signal?.throwIfAborted();
    const stall = new AbortController();
    const timer = setTimeout(() => stall.abort(), stallMs);
    try {
      return await work(AbortSignal.any([stall.signal, ...(signal ? [signal] : [])]), () => timer.refresh());
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof TransientError) && !stall.signal.aborted) throw error;
      failures = progressed() ? 1 : failures + 1;
      const problem = error instanceof TransientError ? error.message : 'the server sends nothing';
      if (failures >= attempts) {
        throw new PairwiseError('DOWNLOAD_FAILED', `${problem}; tried ${attempts} times`, { cause: error });
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

/** Throws what an answer without success means: NOT_FOUND, PERMISSION_DENIED or DOWNLOAD_FAILED, with the remedy. */
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
    throw new PairwiseError('PERMISSION_DENIED', `the hub does not give out ${what}: ${remedy}`);
  }
  throw new PairwiseError('DOWNLOAD_FAILED', `the hub answers with status ${status} for ${what}`);
}
