import type { WatchRunResponse } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { setTimeout as sleep } from 'node:timers/promises';
import { hasEnded, type Runs } from './runs.ts';

const pollMs = 200;
const heartbeatMs = 15_000;
/** Log entries read at a time. */
const pageSize = 500;

/**
 * What happens to a run, from the entry after `resumeToken` on: every log entry once and in order, and the run itself
 * whenever it has changed, the ended run last. A heartbeat comes where nothing else does for 15 s.
 * Throws NOT_FOUND, and INVALID_ARGUMENT for a token that is none.
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
  const say = (payload: WatchRunResponse['payload']): WatchRunResponse => {
    quietSince = Date.now();
    return { payload, resumeToken: String(sequence) };
  };
  while (!signal.aborted) {
    // The run is read before its log, so that the log of an ended run is complete.
    const run = await runs.get(name);
    const entries = await runs.logAfter(name, sequence, pageSize);
    for (const entry of entries) {
      sequence = entry.sequence;
      yield say(entry.payload);
    }
    if (entries.length === pageSize) continue;
    if (run.etag !== seen) {
      seen = run.etag;
      yield say({ $case: 'run', value: run });
    }
    if (hasEnded(run)) return;
    if (Date.now() - quietSince > heartbeatMs) yield say({ $case: 'heartbeat', value: { time: new Date() } });
    await pause(signal);
  }
}

async function pause(signal: AbortSignal): Promise<void> {
  try {
    await sleep(pollMs, undefined, { signal });
  } catch (error) {
    // The caller went away, which ends the loop.
    if (!signal.aborted) throw error;
  }
}

function parseToken(token: string): bigint {
  if (/^\d{0,18}$/.test(token)) return BigInt(token === '' ? 0 : token);
  const message = `resume_token: '${token.slice(0, 40)}' is no token of a watch; leave it empty to begin at the beginning`;
  throw new PairwiseError('INVALID_ARGUMENT', message, { field: 'resume_token' });
}
