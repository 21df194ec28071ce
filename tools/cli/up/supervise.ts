import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { PairwiseError } from '@pairwise/errors';
import { type ProgramOptions, causeOf, endOf, logFields, startProgram } from './child.ts';
import type { Liveness } from './health.ts';
import type { LogLine } from './lines.ts';

export interface SupervisedOptions extends ProgramOptions {
  /** Called when the process reports that it is ready; it counts as ready once this resolves. */
  check: (signal: AbortSignal) => Promise<void>;
  /** Opens the liveness check of the process, once it is ready. */
  liveness: () => Liveness;
  /** How long it may fail to respond before it is killed, in milliseconds. Default: 30,000. */
  patienceMs?: number;
  log: (line: LogLine) => void;
}

export interface Supervised {
  /** Pid of the running process; undefined while it restarts. */
  pid(): number | undefined;
  /** Resolves when the process is first ready; rejects if it dies three times before that. */
  ready: Promise<void>;
  /** Stops the process gracefully, or by force after `deadlineMs`. It is not restarted. */
  stop(deadlineMs: number): Promise<void>;
  /** Kills the process. */
  kill(): void;
}

/** First and longest pause before a restart. Each pause is twice the one before. */
const firstPauseMs = 200;
const longestPauseMs = 10_000;
/** If a process has run this long, the next pause is the first one again. */
const stableAfterMs = 30_000;
const maxFailedStarts = 3;
/** A restarted process that is not ready after this is considered frozen. */
const startPatienceMs = 180_000;
/** This many checks in a row must fail, because a busy machine may stall for a moment. */
const failedChecks = 3;

/** Resolves once a process has not responded for `patienceMs`; throws when the signal aborts. */
async function untilUnresponsive({ lives }: Liveness, patienceMs: number, gone: AbortSignal): Promise<void> {
  const checkMs = patienceMs / failedChecks;
  for (let missed = 0; missed < failedChecks;) {
    const [alive] = await Promise.all([
      lives(AbortSignal.any([gone, AbortSignal.timeout(checkMs)])),
      sleep(checkMs, undefined, { signal: gone }),
    ]);
    missed = alive ? 0 : missed + 1;
  }
}

/**
 * Starts a process and keeps it running. If it exits on its own, it is restarted after a pause that grows. If it runs but
 * does not respond, because it is stopped or its event loop is blocked, it is killed first.
 */
export function supervise(options: SupervisedOptions): Supervised {
  const { name, check, liveness, patienceMs = 30_000 } = options;
  const stopping = new AbortController();
  const isStopping = () => stopping.signal.aborted;
  const firstReady = Promise.withResolvers<undefined>();
  // An unhandled rejection would end the supervisor. Whoever waits for `ready` still sees the error.
  firstReady.promise.catch(() => undefined);
  const lastLines: string[] = [];
  const log = (line: LogLine) => {
    lastLines.push(line.msg);
    lastLines.splice(0, lastLines.length - 12);
    options.log(line);
  };
  let child: ChildProcess | undefined;
  const life = { wasReady: false };

  /** Kills a frozen process, which may not react to any other signal. */
  const kill = (running: ChildProcess, why: string) => {
    log({ ...logFields(name), level: 'warn', msg: `${why}; killing it`, process: running.pid });
    running.kill('SIGKILL');
  };

  const awaitReady = async (running: ChildProcess, gone: AbortSignal, again: boolean) => {
    const late = setTimeout(() => kill(running, `is not ready after ${startPatienceMs / 1000} s`), startPatienceMs);
    try {
      await once(running, 'message', { signal: gone });
      await check(gone);
    } finally {
      clearTimeout(late);
    }
    if (again) log({ ...logFields(name), msg: 'is back', process: running.pid });
    life.wasReady = true;
    firstReady.resolve(undefined);
  };

  const watchLiveness = async (running: ChildProcess, gone: AbortSignal) => {
    const probe = liveness();
    try {
      await untilUnresponsive(probe, patienceMs, AbortSignal.any([gone, stopping.signal]));
    } finally {
      probe.close();
    }
    kill(running, `has not responded for ${patienceMs / 1000} s`);
  };

  /** Runs the process until it ends. */
  const runOnce = async (again: boolean) => {
    const running = startProgram(options, log);
    child = running;
    const gone = new AbortController();
    const watched = awaitReady(running, gone.signal, again).then(() => watchLiveness(running, gone.signal));
    watched.catch((error: unknown) => {
      if (gone.signal.aborted || isStopping()) return;
      log({ ...logFields(name), level: 'error', msg: `cannot be checked: ${String(error)}` });
    });
    await endOf(running);
    gone.abort();
    child = undefined;
    return running;
  };

  const ended = (async () => {
    let pauseMs = firstPauseMs;
    for (let starts = 1; !isStopping(); starts += 1) {
      const began = Date.now();
      const dead = await runOnce(starts > 1);
      if (isStopping()) return;
      if (!life.wasReady && starts >= maxFailedStarts) {
        const message = `${name} does not start; it ${causeOf(dead)}. Its last output:\n  ${lastLines.join('\n  ')}`;
        firstReady.reject(new PairwiseError('UNAVAILABLE', message));
        return;
      }
      if (Date.now() - began > stableAfterMs) pauseMs = firstPauseMs;
      log({ ...logFields(name), level: 'warn', msg: `${causeOf(dead)}; restarting it in ${pauseMs / 1000} s` });
      await sleep(pauseMs, undefined, { signal: stopping.signal }).catch(() => undefined);
      pauseMs = Math.min(2 * pauseMs, longestPauseMs);
    }
  })();

  return {
    pid: () => child?.pid,
    ready: firstReady.promise,
    stop: async (deadlineMs) => {
      stopping.abort();
      const force = setTimeout(() => {
        log({ ...logFields(name), level: 'warn', msg: `has not stopped after ${deadlineMs / 1000} s; killing it` });
        child?.kill('SIGKILL');
      }, deadlineMs);
      child?.kill('SIGTERM');
      await ended;
      clearTimeout(force);
    },
    kill: () => {
      stopping.abort();
      child?.kill('SIGKILL');
    },
  };
}
