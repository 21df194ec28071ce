import { RunState, type Run, type WatchRunResponse } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { hasEnded, watch } from '@pairwise/rpc';
import type { LogEntry } from './runLog.ts';
import type { Runs } from './runs.ts';

/** Log entries per query. */
const pageSize = 500;

/**
 * Streams a run from the log entry after `resumeToken` on: every entry once and in order, and the run itself whenever it
 * has changed. The last message is the run in its final state. After 15 s without a message there is a heartbeat.
 * Throws NOT_FOUND, and INVALID_ARGUMENT for an invalid token.
 */
export function watchRun(
  runs: Runs,
  name: string,
  resumeToken: string,
  signal: AbortSignal,
): AsyncIterable<WatchRunResponse> {
  let sequence = parseToken(resumeToken);
  const message = (payload: WatchRunResponse['payload']) => ({ payload, resumeToken: String(sequence) });

  async function* newEntries(): AsyncGenerator<WatchRunResponse> {
    let page: LogEntry[];
    do {
      page = await runs.logAfter(name, sequence, pageSize);
      for (const entry of page) {
        sequence = entry.sequence;
        yield message(entry.payload);
      }
    } while (page.length === pageSize);
  }

  return watch<Run, WatchRunResponse>(
    {
      read: () => runs.get(name),
      hasEnded: (run) => hasEnded(RunState, run),
      show: (run) => message({ $case: 'run', value: run }),
      newEntries,
      heartbeat: () => message({ $case: 'heartbeat', value: { time: new Date() } }),
    },
    signal,
  );
}

function parseToken(token: string): bigint {
  if (/^\d{0,18}$/.test(token)) return BigInt(token === '' ? 0 : token);
  const message = `resume_token: '${token.slice(0, 40)}' is invalid; use one that WatchRun sent, or leave it empty to start at the beginning`;
  throw new PairwiseError('INVALID_ARGUMENT', message, { field: 'resume_token' });
}
