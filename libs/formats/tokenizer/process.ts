import { fork } from 'node:child_process';
import { PairwiseError } from '@pairwise/errors';
import { RowError } from '@pairwise/preference';
import type { Limits } from './limits.ts';
import {
  rendersMessages,
  type Failure,
  type ReplyMessage,
  type RequestMessage,
  type RequestName,
  type Requests,
} from './requests.ts';
import { overBudget } from './template.ts';

/** A tokenizer in a process of its own. */
export interface TokenizerProcess extends AsyncDisposable {
  /**
   * Asks for one thing; many may be asked for at the same time. Throws INVALID_MODEL where the process dies of it or
   * takes too long, and INTERNAL where somebody else killed the process, as when memory ran out.
   */
  request<Name extends RequestName>(name: Name, args: Requests[Name]['args']): Promise<Requests[Name]['result']>;
}

interface Waiter {
  name: RequestName;
  /** Whether the chat template has not rendered yet what is asked for. */
  rendering: boolean;
  resolve: (result: unknown) => void;
  reject: (error: Error) => void;
}

/** How much of what the process says is kept for error messages, in characters: trouble comes first. */
const keptOutput = 16_384;

/** How a process ends that aborts, or that the kernel ends for what it does. */
const crashes = new Set<string | null>(['SIGABRT', 'SIGBUS', 'SIGFPE', 'SIGILL', 'SIGSEGV', 'SIGTRAP']);

/** Starts the process. It ends when it is disposed of, when `signal` is aborted, and when this process ends. */
export function startProcess(limits: Limits, signal?: AbortSignal): TokenizerProcess {
  signal?.throwIfAborted();
  const child = fork(new URL('./child.ts', import.meta.url), [String(limits.memoryBytes)], {
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    execArgv: ['--max-old-space-size=1024'],
    // It reads files from outside: it gets no secrets.
    env: { PATH: process.env['PATH'], NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'], RUST_BACKTRACE: '0' },
  });
  const waiting = new Map<number, Waiter>();
  let count = 0;
  let said = '';
  let overdue: NodeJS.Timeout | undefined;
  let over: ((name: RequestName) => Error) | undefined;

  const end = (reason: (name: RequestName) => Error) => {
    over ??= reason;
    clearTimeout(overdue);
    for (const { name, reject } of waiting.values()) reject(over(name));
    waiting.clear();
    child.kill('SIGKILL');
  };
  // A template blocks the process while tokenizing continues in threads, so the others wait for whatever still renders.
  const watch = () => {
    clearTimeout(overdue);
    if (waiting.size === 0) return;
    const rendering = waiting.values().some((waiter) => waiter.rendering);
    const [slow, ms] = rendering ? [slowTemplate, limits.renderMs] : [slowTokenizer, limits.answerMs];
    overdue = setTimeout(() => end(() => slow(ms)), ms);
  };
  const abort = () => end(() => signal!.reason as Error);
  signal?.addEventListener('abort', abort, { once: true });

  child.stderr?.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(0, keptOutput)));
  child.on('message', (message) => {
    const reply = message as ReplyMessage;
    const waiter = waiting.get(reply.id);
    if ('rendering' in reply) {
      if (waiter) waiter.rendering = reply.rendering;
    } else {
      waiting.delete(reply.id);
      if ('failure' in reply) waiter?.reject(errorOf(reply.failure));
      else waiter?.resolve(reply.result);
    }
    watch();
  });
  const ended = new Promise<void>((resolve) => {
    child.on('error', (cause) => {
      end(() => new PairwiseError('INTERNAL', `the tokenizer's process failed: ${cause.message}`, { cause }));
      resolve();
    });
    // `close` comes after the last of stderr, unlike `exit`.
    child.on('close', (code, by) => {
      end((name) => death(name, by ?? `code ${code}`, said));
      resolve();
    });
  }).finally(() => signal?.removeEventListener('abort', abort));

  return {
    request: (name, args) =>
      new Promise((resolve, reject) => {
        if (over !== undefined) {
          reject(over(name));
          return;
        }
        const id = count++;
        const rendering = rendersMessages(name, args);
        waiting.set(id, { name, rendering, reject, resolve: (result) => resolve(result as never) });
        watch();
        // A channel that is closed already is followed by `close`, which tells why.
        child.send({ id, name, args } satisfies RequestMessage, () => undefined);
      }),
    async [Symbol.asyncDispose]() {
      end(() => new PairwiseError('INTERNAL', 'the tokenizer is closed'));
      await ended;
    },
  };
}

function errorOf(failure: Failure): Error {
  if ('refusal' in failure) return new RowError(failure.refusal, failure.message);
  const { reason, message, field } = failure;
  return new PairwiseError(reason, message, field === undefined ? {} : { field });
}

const slowTemplate = (ms: number) => overBudget(`takes more than ${ms / 1000} s`);

function slowTokenizer(ms: number): PairwiseError {
  const message = `tokenizer.json takes more than ${ms / 1000} s for one text; simplify it or use another model`;
  return new PairwiseError('INVALID_MODEL', message, { field: 'tokenizer.json' });
}

/** What the end of the process means for a request. */
function death(name: RequestName, end: string, said: string): PairwiseError {
  const complaint = complaintIn(said);
  const explained = complaint === '' ? end : `${end}: ${complaint}`;
  if (!crashes.has(end)) return new PairwiseError('INTERNAL', `the tokenizer's process ended with ${explained}`);
  // Only templates make JavaScript objects without end.
  const byTemplate = name === 'render' || name === 'chatFormat' || /JavaScript/.test(said);
  const field = byTemplate ? 'chat_template' : 'tokenizer.json';
  const message = `${field} crashes the process that uses it (${explained}); simplify it or use another model`;
  return new PairwiseError('INVALID_MODEL', message, { field });
}

/** What the process complained of, in a line, less the text that Rust repeats where it could not cut it. */
function complaintIn(said: string): string {
  const lines = said.split('\n');
  const panic = lines.findIndex((line) => line.includes(' panicked at '));
  const line =
    panic < 0 ? lines.find((each) => /out of memory|memory allocation|Error: /.test(each)) : lines[panic + 1];
  return (line ?? '')
    .replace(/ (of|slicing) `.*/, '')
    .trim()
    .slice(0, 300);
}
