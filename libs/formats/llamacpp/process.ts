import { fork } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { PairwiseError } from '@pairwise/errors';
import type { Reason } from '@pairwise/errors';
import type { LlamaReply, LlamaRequest, LlamaRequestName, LlamaRequests } from './requests.ts';

/** llama.cpp in a process of its own. */
export interface LlamaProcess {
  /**
   * Sends a request; requests are answered in order. If llama.cpp reports a failure or crashes, the error has the reason
   * `blame`. If the process is stopped from outside or cannot be started, it is INTERNAL.
   */
  request<Name extends LlamaRequestName>(
    name: Name,
    args: LlamaRequests[Name]['args'],
    blame: Reason,
  ): Promise<LlamaRequests[Name]['result']>;
  /** Kills the process, even in the middle of a request. Returns the problem that llama.cpp printed, or ''. */
  end(): Promise<string>;
}

interface Waiter {
  blame: Reason;
  resolve: (result: unknown) => void;
  reject: (error: Error) => void;
}

/** How much of llama.cpp's output is kept for error messages, in characters. */
const keptOutput = 4096;

/** The signals by which a process ends that aborts or that the kernel stops for a fault of its own. */
const crashes = new Set<string | null>(['SIGABRT', 'SIGBUS', 'SIGFPE', 'SIGILL', 'SIGSEGV', 'SIGTRAP']);

/** Starts the process. Throws UNAVAILABLE if the libraries of llama.cpp are not installed for this platform. */
export async function startLlama(): Promise<LlamaProcess> {
  const child = fork(new URL('./child.ts', import.meta.url), [await librariesFolder()], {
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    execArgv: [],
    // It reads files from outside, so it gets no secrets.
    env: { PATH: process.env['PATH'], GGML_NO_BACKTRACE: '1' },
  });
  const waiting = new Map<number, Waiter>();
  let count = 0;
  let printed = '';
  let failure: ((blame: Reason) => Error) | undefined;
  const fail = (reason: (blame: Reason) => Error) => {
    failure ??= reason;
    for (const { blame, reject } of waiting.values()) reject(failure(blame));
    waiting.clear();
  };
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (printed = (printed + text).slice(-keptOutput)));
  child.on('message', (message) => {
    const reply = message as LlamaReply;
    const waiter = waiting.get(reply.id);
    waiting.delete(reply.id);
    if ('error' in reply) waiter?.reject(new PairwiseError(waiter.blame, reply.error));
    else waiter?.resolve(reply.result);
  });
  const ended = new Promise<void>((resolve) => {
    child.on('error', (cause) => {
      fail(() => new PairwiseError('INTERNAL', `the llama.cpp process failed: ${cause.message}`, { cause }));
      resolve();
    });
    // Unlike `exit`, `close` comes after the last output.
    child.on('close', (code, signal) => {
      fail((blame) => endError(code, signal, blame, complaintIn(printed)));
      resolve();
    });
  });
  return {
    request: (name, args, blame) =>
      new Promise((resolve, reject) => {
        if (failure) {
          reject(failure(blame));
          return;
        }
        const id = count++;
        waiting.set(id, { blame, reject, resolve: (result) => resolve(result as never) });
        // If the channel is closed, `error` or `close` follows and gives the reason.
        if (child.connected) child.send({ id, name, args } satisfies LlamaRequest, () => undefined);
      }),
    async end() {
      child.kill('SIGKILL');
      await ended;
      return complaintIn(printed);
    },
  };
}

/** The error of a request whose process has ended. Only a crash is blamed on what was requested. */
function endError(code: number | null, signal: string | null, blame: Reason, complaint: string): PairwiseError {
  if (crashes.has(signal)) return new PairwiseError(blame, explained(`llama.cpp crashed with ${signal}`, complaint));
  const problem =
    signal === null
      ? `llama.cpp ended with code ${code}`
      : `llama.cpp was stopped by ${signal}; try again, with more memory if the system ran out`;
  return new PairwiseError('INTERNAL', explained(problem, complaint));
}

/** The same error with the problem that llama.cpp printed. */
export function withComplaint(error: unknown, complaint: string): unknown {
  if (!(error instanceof PairwiseError) || error.message.includes(complaint)) return error;
  return new PairwiseError(error.reason, explained(error.message, complaint), { cause: error });
}

function explained(problem: string, complaint: string): string {
  return complaint === '' ? problem : `${problem}: ${complaint}`;
}

/** The first line that reports a problem; later ones are consequences. */
function complaintIn(printed: string): string {
  const lines = printed.split('\n').map((line) => line.trim());
  return lines.find((line) => /error|fail|assert|abort/i.test(line)) ?? '';
}

/** The libraries that node-llama-cpp builds; there is an npm package for each platform. */
async function librariesFolder(): Promise<string> {
  const platform = process.platform === 'darwin' ? `mac-${process.arch}-metal` : `${process.platform}-${process.arch}`;
  try {
    const { getBinsDir } = (await import(`@node-llama-cpp/${platform}`)) as { getBinsDir: () => { binsDir: string } };
    const { binsDir } = getBinsDir();
    return join(binsDir, readdirSync(binsDir)[0] ?? '');
  } catch (cause) {
    throw new PairwiseError(
      'UNAVAILABLE',
      `llama.cpp is not installed for ${platform}; install @node-llama-cpp/${platform}`,
      {
        cause,
      },
    );
  }
}
