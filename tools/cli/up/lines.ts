import { stripVTControlCharacters, styleText } from 'node:util';

/** One event of the platform: a line of a process's log, or an event of the supervisor (`service` is `up`). */
export interface LogLine {
  /** ISO 8601. */
  time: string;
  level: string;
  service: string;
  msg: string;
  [field: string]: unknown;
}

/** Fields that are left out on a terminal. */
const hidden = new Set(['time', 'level', 'service', 'msg', 'trace_id', 'span_id', 'err', 'pid', 'hostname']);

/** Parses a line of a process's output: pino's JSON, or any other text. */
export function readLine(text: string, service: string, level: string): LogLine {
  try {
    const value = JSON.parse(text) as Partial<LogLine>;
    if (typeof value === 'object' && typeof value.msg === 'string') {
      return { time: new Date().toISOString(), level, ...value, service, msg: value.msg };
    }
  } catch {
    // It is plain text.
  }
  return { time: new Date().toISOString(), level, service, msg: stripVTControlCharacters(text) };
}

const colours = { warn: 'yellow', error: 'red', fatal: 'red' } as const;

function valueOf(value: unknown): string {
  if (typeof value === 'string') return /^[\w./:@+-]+$/.test(value) ? value : JSON.stringify(value);
  return JSON.stringify(value);
}

interface LoggedError {
  message?: unknown;
  stack?: unknown;
}

/** The error's message, unless the line's message has it already, and its stack for level `error`. */
function errorText(error: unknown, line: LogLine): string {
  const { message, stack } = (error ?? {}) as LoggedError;
  const text = typeof message === 'string' && !line.msg.includes(message) ? `: ${message}` : '';
  const trace = line.level === 'error' && typeof stack === 'string' ? stack.split('\n').slice(1).join('\n') : '';
  return trace === '' ? text : `${text}\n${styleText('dim', trace, { stream: process.stdout })}`;
}

/** An event as one readable line: `12:03:22 dataset  imported  pairs=1000`. */
export function formatLine(line: LogLine): string {
  const paint = (style: Parameters<typeof styleText>[0], text: string) =>
    styleText(style, text, { stream: process.stdout });
  const time = new Date(line.time).toTimeString().slice(0, 8);
  const colour = colours[line.level as keyof typeof colours] as 'yellow' | 'red' | undefined;
  const message = colour === undefined ? line.msg : paint(colour, line.msg);
  const fields = Object.entries(line)
    .filter(([name, value]) => !hidden.has(name) && value !== undefined)
    .map(([name, value]) => `${name.replace(/^pairwise\.(\w+)\.id$/, '$1')}=${valueOf(value)}`);
  const tail = fields.length === 0 ? '' : `  ${paint('dim', fields.join(' '))}`;
  return `${paint('dim', time)} ${paint('cyan', line.service.padEnd(16))} ${message}${tail}${errorText(line['err'], line)}`;
}
