import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable, Stream } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { allocatorSettings } from '@pairwise/lifecycle';
import { type LogLine, readLine } from './lines.ts';

export interface ProgramOptions {
  name: string;
  /** The file that Node runs. */
  program: URL;
  environment: NodeJS.ProcessEnv;
  /** A pipe that stays open in the process for as long as it runs. Default: none. */
  lifeline?: Stream | undefined;
}

const parentWatch = new URL('parentWatch.ts', import.meta.url).href;
/** V8 would reserve 32 MB for young objects in each process, most of which these never use. */
const nodeFlags = ['--max-semi-space-size=4', '--import', parentWatch];

/** The fields of a log line about a process, besides its message. */
export const logFields = (service: string) => ({ time: new Date().toISOString(), level: 'info', service });

/** Reads the output of a process line by line. */
function readLines(stream: Readable, onLine: (text: string) => void): void {
  createInterface({ input: stream, crlfDelay: Infinity }).on('line', (text) => {
    if (text.trim() !== '') onLine(text);
  });
}

/** Starts a program with Node. `log` receives each line of its output. */
export function startProgram(options: ProgramOptions, log: (line: LogLine) => void): ChildProcess {
  const { program, environment, lifeline, name } = options;
  const child = spawn(process.execPath, [...nodeFlags, fileURLToPath(program)], {
    env: { ...allocatorSettings, ...environment },
    // Its own process group: Ctrl-C in a terminal goes only to the supervisor, which stops everything gracefully.
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe', 'ipc', ...(lifeline === undefined ? [] : [lifeline])],
  });
  readLines(child.stdout!, (text) => log(readLine(text, name, 'info')));
  readLines(child.stderr!, (text) => log(readLine(text, name, 'warn')));
  child.on('error', (error) => log({ ...logFields(name), level: 'error', msg: `cannot be run: ${error.message}` }));
  return child;
}

/** Waits for a process to end and, briefly, for its last output, which a child of its own may hold open. */
export async function endOf(child: ChildProcess): Promise<void> {
  const closed = new Promise((resolve) => child.once('close', resolve));
  await new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => {
      if (child.pid === undefined) resolve();
    });
  });
  await Promise.race([closed, sleep(300)]);
}

/** Why a process that has ended did so. */
export function causeOf(child: ChildProcess): string {
  if (child.signalCode !== null) return `killed by ${child.signalCode}`;
  return child.exitCode === null ? 'could not be started' : `ended with code ${child.exitCode}`;
}
