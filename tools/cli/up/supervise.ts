import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable, Stream } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { PairwiseError } from '@pairwise/errors';
import type { Liveness } from './health.ts';
import { type LogLine, readLine } from './lines.ts';

export interface SupervisedOptions {
  name: string;
  /** The file that Node runs. */
  program: URL;
  environment: NodeJS.ProcessEnv;
  /** Is open in the process as long as that lives. Default: nothing. */
  lifeline?: Stream | undefined;
  /** Called once the process says that it is ready; it counts as ready when this is through. */
  check: (signal: AbortSignal) => Promise<void>;
  /** Opens what tells whether the process lives, once it is ready. */
  liveness: () => Liveness;
  /** How long it may show no life before it is killed, in milliseconds. Default 30,000. */
  patienceMs?: number;
  log: (line: LogLine) => void;
}

export interface Supervised {
  /** Pid of the process that runs now; undefined between two. */
  pid(): number | undefined;
  /** Resolves when the process is ready for the first time; rejects if it dies three times before that. */
  ready: Promise<void>;
  /** Ends the process in good order, after `deadlineMs` by force; it is not started again. */
  stop(deadlineMs: number): Promise<void>;
  /** Ends the process at once. */
  kill(): void;
}

const parentWatch = new URL('parentWatch.ts', import.meta.url).href;
/** V8 would keep 32 MB in each process for young objects, most of it unused by processes that compute elsewhere. */
const nodeFlags = ['--max-semi-space-size=4', '--import', parentWatch];
/** Pauses before a process is started again: the first, and the longest. Each is twice the one before. */
const firstPauseMs = 200;
const longestPauseMs = 10_000;
/** A process that has lived so long begins with the first pause again. */
const soundAfterMs = 30_000;
const startsBeforeReady = 3;
/** A process that is started again and not ready after this is frozen. */
const startPatienceMs = 180_000;
/** So many looks in a row at a process must find no life: one of them may fall into a moment in which all stood still. */
const looks = 3;

/** What a process says, line by line. */
function follow(stream: Readable, told: (text: string) => void): void {
  createInterface({ input: stream, crlfDelay: Infinity }).on('line', (text) => {
    if (text.trim() !== '') told(text);
  });
}

function start(options: SupervisedOptions, log: (line: LogLine) => void): ChildProcess {
  const { program, environment, lifeline, name } = options;
  const child = spawn(process.execPath, [...nodeFlags, fileURLToPath(program)], {
    env: environment,
    // Its own group: Ctrl-C in a terminal is for the supervisor, which stops all in order.
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe', 'ipc', ...(lifeline === undefined ? [] : [lifeline])],
  });
  follow(child.stdout!, (text) => log(readLine(text, name, 'info')));
  follow(child.stderr!, (text) => log(readLine(text, name, 'warn')));
  child.on('error', (error) => log({ ...own(name), level: 'error', msg: `cannot be run: ${error.message}` }));
  return child;
}

/** Waits for a process to end, and shortly for its last words: a process of its own may hold its output open. */
async function endOf(child: ChildProcess): Promise<void> {
  const closed = new Promise((tell) => child.once('close', tell));
  await new Promise<void>((tell) => {
    child.once('exit', () => tell());
    child.once('error', () => {
      if (child.pid === undefined) tell();
    });
  });
  await Promise.race([closed, sleep(300)]);
}

const own = (service: string) => ({ time: new Date().toISOString(), level: 'info', service });

/** Resolves once a process has shown no life for so long; throws when the signal aborts. */
async function untilLifeless({ lives }: Liveness, patienceMs: number, gone: AbortSignal): Promise<void> {
  const lookMs = patienceMs / looks;
  for (let missed = 0; missed < looks;) {
    const [alive] = await Promise.all([
      lives(AbortSignal.any([gone, AbortSignal.timeout(lookMs)])),
      sleep(lookMs, undefined, { signal: gone }),
    ]);
    missed = alive ? 0 : missed + 1;
  }
}

function causeOf(child: ChildProcess): string {
  if (child.signalCode !== null) return `killed by ${child.signalCode}`;
  return child.exitCode === null ? 'could not be started' : `ended with code ${child.exitCode}`;
}

/**
 * Starts a process and keeps it running: one that ends unasked is started again, after a pause that grows. One that is
 * there but shows no life, because it is stopped or its event loop does not turn, is killed first.
 */
export function supervise(options: SupervisedOptions): Supervised {
  const { name, check, liveness, patienceMs = 30_000 } = options;
  const stopping = new AbortController();
  const isStopping = () => stopping.signal.aborted;
  const firstReady = Promise.withResolvers<undefined>();
  // Whoever waits sees it; nobody may.
  firstReady.promise.catch(() => undefined);
  const said: string[] = [];
  const log = (line: LogLine) => {
    said.push(line.msg);
    said.splice(0, said.length - 12);
    options.log(line);
  };
  let child: ChildProcess | undefined;
  const life = { wasReady: false };

  /** Kills a process that is frozen, which may take no other signal. */
  const kill = (running: ChildProcess, why: string) => {
    log({ ...own(name), level: 'warn', msg: `${why}; it is killed`, process: running.pid });
    running.kill('SIGKILL');
  };

  const becomeReady = async (running: ChildProcess, gone: AbortSignal, again: boolean) => {
    const late = setTimeout(() => kill(running, `is not ready after ${startPatienceMs / 1000} s`), startPatienceMs);
    try {
      await once(running, 'message', { signal: gone });
      await check(gone);
    } finally {
      clearTimeout(late);
    }
    if (again) log({ ...own(name), msg: 'is back', process: running.pid });
    life.wasReady = true;
    firstReady.resolve(undefined);
  };

  const lookAfter = async (running: ChildProcess, gone: AbortSignal) => {
    const asked = liveness();
    try {
      await untilLifeless(asked, patienceMs, AbortSignal.any([gone, stopping.signal]));
    } finally {
      asked.close();
    }
    kill(running, `shows no life for ${patienceMs / 1000} s`);
  };

  /** One life of the process. */
  const live = async (again: boolean) => {
    const running = start(options, log);
    child = running;
    const gone = new AbortController();
    const watched = becomeReady(running, gone.signal, again).then(() => lookAfter(running, gone.signal));
    watched.catch((error: unknown) => {
      if (gone.signal.aborted || isStopping()) return;
      log({ ...own(name), level: 'error', msg: `cannot be asked: ${String(error)}` });
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
      const dead = await live(starts > 1);
      if (isStopping()) return;
      if (!life.wasReady && starts >= startsBeforeReady) {
        const message = `${name} does not start; it ${causeOf(dead)}. It said:\n  ${said.join('\n  ')}`;
        firstReady.reject(new PairwiseError('UNAVAILABLE', message));
        return;
      }
      if (Date.now() - began > soundAfterMs) pauseMs = firstPauseMs;
      log({ ...own(name), level: 'warn', msg: `${causeOf(dead)}; starting it again in ${pauseMs / 1000} s` });
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
        log({ ...own(name), level: 'warn', msg: `does not stop within ${deadlineMs / 1000} s; it is killed` });
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
