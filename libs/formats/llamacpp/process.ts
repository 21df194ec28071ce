import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { PairwiseError } from '@pairwise/errors';
import type { Reason } from '@pairwise/errors';
import type { LlamaReply, LlamaRequest, LlamaRequestName, LlamaRequests } from './requests.ts';

/** llama.cpp in a process of its own. */
export interface LlamaProcess {
  /**
   * Asks for one thing; requests are answered in order. `blame` is the reason of a failure, also where llama.cpp dies of
   * the request; it is INTERNAL where the process was killed by somebody else, as when memory ran out.
   */
  request<Name extends LlamaRequestName>(
    name: Name,
    args: LlamaRequests[Name]['args'],
    blame: Reason,
  ): Promise<LlamaRequests[Name]['result']>;
  /** Ends the process at once, whatever it does; what llama.cpp complained of, or nothing. */
  end(): Promise<string>;
}

/** How much of what llama.cpp says is kept for error messages, in characters. */
const keptOutput = 4096;

/** Starts the process. Throws `UNAVAILABLE` where there are no llama.cpp libraries for this platform. */
export async function startLlama(): Promise<LlamaProcess> {
  const child = fork(new URL('./child.ts', import.meta.url), [await librariesFolder()], {
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    execArgv: [],
    // It reads files from outside: it gets no secrets.
    env: { PATH: process.env['PATH'], GGML_NO_BACKTRACE: '1' },
  });
  let said = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-keptOutput)));
  const waiting = new Map<number, { resolve: (result: unknown) => void; reject: Reject }>();
  child.on('message', (message) => {
    const reply = message as LlamaReply;
    const waiter = waiting.get(reply.id);
    waiting.delete(reply.id);
    if ('error' in reply) waiter?.reject(reply.error);
    else waiter?.resolve(reply.result);
  });
  const ended = new Promise<void>((resolve) => {
    // `close` comes after the last of stderr, unlike `exit`.
    child.on('close', (code, signal) => {
      const end = `llama.cpp ended with ${signal ?? `code ${code}`}`;
      const reason = signal === 'SIGKILL' || signal === 'SIGTERM' ? 'INTERNAL' : undefined;
      for (const { reject } of waiting.values()) reject(explained(end, complaintIn(said)), reason);
      waiting.clear();
      resolve();
    });
  });
  let count = 0;
  return {
    request: (name, args, blame) =>
      new Promise((resolve, reject) => {
        const id = count++;
        waiting.set(id, {
          resolve: (result) => resolve(result as never),
          reject: (problem, reason = blame) => reject(new PairwiseError(reason, problem)),
        });
        send(child, { id, name, args }, waiting.get(id)!.reject);
      }),
    async end() {
      child.kill('SIGKILL');
      await ended;
      return complaintIn(said);
    },
  };
}

/** Fails a request, for another reason than the one that was given for it if need be. */
type Reject = (problem: string, reason?: Reason) => void;

function send(child: ChildProcess, message: LlamaRequest, fail: Reject): void {
  if (!child.connected) fail('llama.cpp has ended');
  else child.send(message, (error) => error && fail(`llama.cpp has ended (${error.message})`));
}

/** The same error with what llama.cpp complained of. */
export function withComplaint(error: unknown, complaint: string): unknown {
  if (!(error instanceof PairwiseError) || error.message.includes(complaint)) return error;
  return new PairwiseError(error.reason, explained(error.message, complaint), { cause: error });
}

function explained(problem: string, complaint: string): string {
  return complaint === '' ? problem : `${problem}: ${complaint}`;
}

/** The first line that reports a problem: the lines after it are consequences. */
function complaintIn(said: string): string {
  const lines = said.split('\n').map((line) => line.trim());
  return lines.find((line) => /error|fail|assert|abort/i.test(line)) ?? '';
}

/** The libraries come from npm, one package per platform, as node-llama-cpp builds them. */
async function librariesFolder(): Promise<string> {
  const platform = process.platform === 'darwin' ? `mac-${process.arch}-metal` : `${process.platform}-${process.arch}`;
  try {
    const { getBinsDir } = (await import(`@node-llama-cpp/${platform}`)) as { getBinsDir: () => { binsDir: string } };
    const { binsDir } = getBinsDir();
    return join(binsDir, readdirSync(binsDir)[0] ?? '');
  } catch (cause) {
    throw new PairwiseError(
      'UNAVAILABLE',
      `there is no llama.cpp for ${platform}: install @node-llama-cpp/${platform}`,
      {
        cause,
      },
    );
  }
}
