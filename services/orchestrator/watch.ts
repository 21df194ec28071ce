import type { WatchRunResponse } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { pause } from './poll.ts';
import { hasEnded } from './run.ts';
import type { Runs } from './runs.ts';

const heartbeatMs = 15_000;
/** Log entries per query. */
const pageSize = 500;

/**
 * Streams a run from the log entry after `resumeToken` on: every entry once and in order, and the run itself whenever it
 * has changed. The last message is the run in its final state. After 15 s without a message there is a heartbeat.
 * Throws NOT_FOUND, and INVALID_ARGUMENT for an invalid token.
 */
export async function* watchRun(
  runs: Runs,
  name: string,
  resumeToken: string,
  signal: AbortSignal,
): AsyncGenerator<WatchRunResponse> {
  let sequence = parseToken(resumeToken);
  let seen = '';
  let quietSince = Date.now();
  const message = (payload: WatchRunResponse['payload']): WatchRunResponse => {
    quietSince = Date.now();
    return { payload, resumeToken: String(sequence) };
  };
  while (!signal.aborted) {
    // The run is read before its log, so that the log of an ended run is complete.
    const run = await runs.get(name);
    const entries = await runs.logAfter(name, sequence, pageSize);
    for (const entry of entries) {
      sequence = entry.sequence;
      yield message(entry.payload);
    }
    if (entries.length === pageSize) continue;
    if (run.etag !== seen) {
      seen = run.etag;
      yield message({ $case: 'run', value: run });
    }
    if (hasEnded(run)) return;
    if (Date.now() - quietSince > heartbeatMs) yield message({ $case: 'heartbeat', value: { time: new Date() } });
    // Rejects only when the caller is gone, which ends the loop.
    await pause(signal).catch(() => undefined);
  }
}

function parseToken(token: string): bigint {
  if (/^\d{0,18}$/.test(token)) return BigInt(token === '' ? 0 : token);
  const message = `resume_token: '${token.slice(0, 40)}' is invalid; use one that WatchRun sent, or leave it empty to start at the beginning`;
  throw new PairwiseError('INVALID_ARGUMENT', message, { field: 'resume_token' });
}
